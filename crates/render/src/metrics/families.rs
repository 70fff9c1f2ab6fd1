// SPDX-License-Identifier: Apache-2.0
//! The table of all metrics.

/// Before each name.
pub const PREFIX: &str = "luabalancer_";

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It goes up and down.
    Gauge,
    /// It only grows.
    Counter,
    /// Buckets of durations, their sum and their number.
    Histogram,
    /// A sum of durations and their number.
    Summary,
}

impl Kind {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
            Kind::Summary => "summary",
        }
    }
}

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// Its name without the prefix; a counter's ends in `_total`.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// The names of its labels, in their order.
    pub labels: &'static [&'static str],
    /// Its meaning.
    pub help: &'static str,
}

const fn of(kind: Kind, name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, kind, labels, help }
}

const NONE: &[&str] = &[];
const POOL: &[&str] = &["pool"];
const MEMBER: &[&str] = &["pool", "member"];
const SOURCE: &[&str] = &["pool", "source"];

/// All of them, in the order in which they are written.
pub const FAMILIES: &[Family] = &[
    of(Kind::Gauge, "build_info", &["version", "httpd", "lua"], "Versions; always 1."),
    of(Kind::Gauge, "children", NONE, "Child processes of httpd that take part."),
    of(Kind::Gauge, "table_members", &["kind"], "Rows of members in the table: used, and room in all."),
    of(Kind::Counter, "lead_changes_total", NONE, "Times that another child became the leader."),
    of(Kind::Gauge, "store_up", NONE, "1 while the store of shared orders answers."),
    of(Kind::Gauge, "fronts", NONE, "Servers that share something by the store and are alive."),
    of(Kind::Gauge, "metrics_reduced", NONE, "1 when series of members are left out, beyond max_series."),
    of(Kind::Gauge, "pool_members", &["pool", "state"], "Members by state."),
    of(Kind::Gauge, "pool_usable_members", POOL, "Members that a new request may go to."),
    of(Kind::Gauge, "pool_in_flight", POOL, "Requests at the members now."),
    of(Kind::Gauge, "pool_queued", POOL, "Requests that wait for a place now."),
    of(Kind::Gauge, "pool_panic", POOL, "1 while so few members are usable that health is ignored."),
    of(Kind::Counter, "pool_requests_total", &["pool", "result"], "Requests by their one result."),
    of(Kind::Counter, "pool_retries_total", &["pool", "reason"], "Times that another member was asked."),
    of(Kind::Histogram, "pool_request_duration_seconds", POOL, "How long requests took."),
    of(Kind::Histogram, "pool_queue_wait_seconds", POOL, "How long requests waited for a place."),
    of(Kind::Counter, "pool_sessions_total", &["pool", "kind"], "How sessions ended."),
    of(Kind::Gauge, "member_up", MEMBER, "1 when a new request may go there."),
    of(Kind::Gauge, "member_weight", MEMBER, "The weight as ordered last."),
    of(Kind::Gauge, "member_weight_configured", MEMBER, "The weight that its line says."),
    of(Kind::Gauge, "member_in_flight", MEMBER, "Requests there now."),
    of(Kind::Counter, "member_attempts_total", &["pool", "member", "outcome"], "Attempts by how they ended."),
    of(Kind::Counter, "member_responses_total", &["pool", "member", "code"], "Answers by class."),
    of(Kind::Histogram, "member_attempt_duration_seconds", MEMBER, "How long attempts took."),
    of(Kind::Counter, "member_sent_bytes_total", MEMBER, "Bytes sent to it."),
    of(Kind::Counter, "member_received_bytes_total", MEMBER, "Bytes received from it."),
    of(Kind::Counter, "member_ejections_total", MEMBER, "Times that failed requests took it out."),
    of(Kind::Counter, "member_transitions_total", MEMBER, "Times that its state became another one."),
    of(
        Kind::Counter,
        "member_checks_total",
        &["pool", "member", "result"],
        "Active checks by result: ok or failed.",
    ),
    of(Kind::Gauge, "member_latency_ewma_seconds", MEMBER, "Moving average of response times."),
    of(Kind::Gauge, "member_check_duration_seconds", MEMBER, "How long the last check took."),
    of(Kind::Gauge, "member_state_changed_timestamp_seconds", MEMBER, "When the state changed last."),
    of(Kind::Counter, "script_calls_total", &["script", "result"], "Calls of scripts by result."),
    of(Kind::Summary, "script_duration_seconds", &["script"], "How long calls took."),
    of(
        Kind::Gauge,
        "script_last_reload_successful",
        &["script"],
        "1 when the file that was saved last serves.",
    ),
    of(
        Kind::Counter,
        "shadow_requests_total",
        &["script", "result"],
        "Requests by how a shadow's decision compares.",
    ),
    of(
        Kind::Counter,
        "script_reloads_total",
        &["script", "result"],
        "Saved versions by what became of them.",
    ),
    of(Kind::Gauge, "dict_size_bytes", &["dict"], "Bytes of a dictionary."),
    of(Kind::Gauge, "dict_free_bytes", &["dict"], "Bytes of a dictionary that are free."),
    of(
        Kind::Counter,
        "dict_evictions_total",
        &["dict"],
        "Entries with time left that were thrown out for others.",
    ),
    of(Kind::Gauge, "discovery_up", SOURCE, "1 when the last look at the source gave a list."),
    of(
        Kind::Gauge,
        "discovery_last_success_timestamp_seconds",
        SOURCE,
        "When the source's list was last seen.",
    ),
    of(Kind::Gauge, "discovery_members", SOURCE, "Members in service that the source has found."),
    of(
        Kind::Counter,
        "discovery_updates_total",
        &["pool", "source", "result"],
        "Looks by what became of them.",
    ),
    of(Kind::Gauge, "scrape_duration_seconds", NONE, "How long it took to make all of this."),
];

/// A family by its name.
pub(super) fn family(name: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| family.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_end_as_their_types_want() {
        for (at, family) in FAMILIES.iter().enumerate() {
            assert!(FAMILIES[..at].iter().all(|other| other.name != family.name), "{}", family.name);
            assert_eq!(family.kind == Kind::Counter, family.name.ends_with("_total"), "{}", family.name);
            assert!(family.help.ends_with('.') && !family.help.contains(['\n', '\\']), "{}", family.name);
        }
    }
}
