// SPDX-License-Identifier: Apache-2.0
//! The parts that a child's answers are made of. They are the same in every child.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use balance::api::Balancer;
use balance::engine::Handle;
use balance::event::Event;
use balance::guard::SourceAsk;
use balance::history::PoolHistory;
use balance::journal::{EventEntry, EventKind, JournalPart};
use balance::snapshot::{Extent, LeadState, Snapshot};
use balance::steering::Steering;
use balance::store::Store;
use config::MemberSeries;
use control::{Described, Facts, House, OrderStore, StateSeen, Unexplained};
use render::explained::ExplainedDoc;
use render::metrics::{Histograms, Members, Options};
use table::Table;
use table::ring::RingRead;

use super::explain;
use crate::httpd::{digest, log, memory};
use crate::keep::events;
use crate::keep::state::{StateBytes, StateFile};
use crate::serve::child::{Child, Thread};
use crate::serve::snapshot;

/// How long a caller waits for the leading child.
const PATIENCE: Duration = Duration::from_secs(5);

/// A child, on one of its threads.
pub struct ChildHouse {
    child: &'static Child,
    balancer: Rc<Handle<Table>>,
}

impl ChildHouse {
    /// With what this thread has.
    pub fn new(child: &'static Child, thread: &Thread) -> Self {
        ChildHouse { child, balancer: thread.balancer.clone() }
    }

    /// Takes no more connections at the control plane's sockets once a larger table has taken the
    /// place of this child's: the children that have it answer.
    pub fn close_if_superseded(&self) {
        if self.is_superseded() {
            self.child.answering.close();
        }
    }
}

impl House for ChildHouse {
    fn snapshot(&self, extent: Extent<'_>) -> Snapshot {
        snapshot::of(self.child, extent)
    }

    fn lead(&self) -> Option<LeadState> {
        self.child.table.lead_state(memory::monotonic_ms())
    }

    fn usable(&self, pool: &str) -> Option<(Arc<str>, usize)> {
        let pool = self.balancer.find(pool)?;
        let name = self.balancer.membership(pool)?.name.clone();
        Some((name, self.balancer.usable(pool, None)))
    }

    fn history(&self, pool: &str) -> Option<PoolHistory> {
        let table = &self.child.table;
        table.pool_history(table.find_pool(pool)?)
    }

    fn steering(&self) -> &dyn Steering {
        self.balancer.as_ref()
    }

    fn facts(&self) -> Facts {
        Facts {
            version: env!("CARGO_PKG_VERSION"),
            httpd: digest::server_version(),
            lua: script::LUA_RELEASE,
            generation: self.child.table.generation(),
            started_s: self.child.doors.started_s,
            clock_ms: Some(memory::monotonic_ms()),
            lead_changes: Some(self.child.table.lead_changes().0),
            store: match (&self.child.store, &self.child.fronts) {
                (Some(store), _) => store.state(),
                (None, fronts) => fronts.as_ref().and_then(|fronts| fronts.state()),
            },
            fronts: self.child.fronts.as_ref().and_then(|fronts| fronts.count()),
            unheld: self
                .child
                .store
                .as_ref()
                .map(|store| store.unheld(&self.child.table))
                .unwrap_or_default(),
            state_trouble: self.child.state_file.as_ref().and_then(StateFile::trouble),
        }
    }

    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn place(&self, pool: &str, member: &str) -> Option<String> {
        self.child.places.of(pool, member)
    }

    fn is_ending(&self) -> bool {
        self.child.answering.is_pressed()
    }

    fn is_superseded(&self) -> bool {
        self.child.table.is_superseded()
    }

    fn note(&self, entries: &[EventEntry]) {
        entries.iter().for_each(|entry| events::append(&self.child.table, entry));
    }

    fn log(&self, events: &[Event], others: &[EventEntry]) {
        events.iter().for_each(events::say);
        for entry in others {
            let message = match entry.kind {
                EventKind::Discovery => messages::discovery::ACCEPTED,
                _ => messages::control::ORDERED,
            };
            log::server(message, &entry.message);
        }
    }

    fn journal(&self, since: Option<u64>) -> JournalPart {
        events::since(&self.child.table, since)
    }

    fn decisions(&self) -> Vec<Vec<u8>> {
        let (ring, now_ms) = (self.child.table.decisions(), memory::monotonic_ms());
        let kept = (ring.oldest()..ring.next()).map(|number| ring.read(number, now_ms));
        kept.filter_map(RingRead::entry).collect()
    }

    fn next_event(&self) -> u64 {
        events::next(&self.child.table)
    }

    fn may_change(&self, who: &str) -> bool {
        self.child.admitted.admit(who, memory::monotonic_ms() / 1000)
    }

    fn metrics(&self) -> Options {
        let said = &self.child.main_config.config.metrics;
        Options {
            members: match said.members {
                MemberSeries::Auto => Members::Auto,
                MemberSeries::On => Members::On,
                MemberSeries::Off => Members::Off,
            },
            histograms: match said.histograms {
                config::Histograms::Members => Histograms::Members,
                config::Histograms::Pools => Histograms::Pools,
                config::Histograms::Off => Histograms::Off,
            },
            max_series: said.max_series as usize,
        }
    }

    fn state_file(&self) -> Option<StateSeen> {
        let file = self.child.state_file.as_ref()?;
        let bytes = match file.read(None) {
            StateBytes::Nothing => Ok(None),
            StateBytes::Bytes(bytes) => Ok(Some(bytes)),
            StateBytes::Strange(why) | StateBytes::Unreadable(why) => Err(why),
        };
        let trouble = file.trouble().map(|(why, _)| why);
        Some(StateSeen { path: file.path(), bytes, ages: file.ages, trouble })
    }

    fn prune_state(&self) -> Result<(), String> {
        let file = self.child.state_file.as_ref().ok_or("there is no state file")?;
        let is_done = file.wait_until_pruned(file.ask_to_prune(), PATIENCE);
        is_done.then_some(()).ok_or_else(|| "the leading child has not written the state file in time".into())
    }

    fn ask_source(&self, pool: &str, source: &str, ask: SourceAsk) -> Result<(), String> {
        let table = &self.child.table;
        let unseen = "the leading child has not looked at the source yet";
        let row = table.find_source(pool, source).ok_or(unseen)?;
        let number = table.ask_source(row, ask);
        let until = Instant::now() + PATIENCE;
        while !table.is_source_answered(row, ask, number) {
            if Instant::now() >= until || self.is_ending() {
                return Err("the leading child has not seen to it in time".into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn explain(&self, described: &Described) -> Result<ExplainedDoc, Unexplained> {
        explain::explain(self.child, described)
    }

    fn order_store(&self) -> Option<&dyn OrderStore> {
        self.child.store.as_deref().map(|store| store as &dyn OrderStore)
    }

    fn metrics_reduced(&self, reduced: bool) {
        if self.child.admitted.is_news(reduced) && reduced {
            let most = self.child.main_config.config.metrics.max_series;
            let text = format!(
                "metrics leave out some of the members' series: there would be more than {most} \
                 (LuaBalancerMetrics max_series=)"
            );
            log::server(messages::control::SERIES_LEFT_OUT, &text);
        }
    }
}
