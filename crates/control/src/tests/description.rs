// SPDX-License-Identifier: Apache-2.0
//! The API's description, made of the types that serve and of the table of URLs; and docs/api.md
//! beside it.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use render::decisions::DecisionsDoc;
use render::events::EventsDoc;
use render::explained::ExplainedDoc;
use render::history::HistoryDoc;
use render::member::MemberDoc;
use render::pool::{PoolDoc, PoolsDoc};
use render::rows::{ChildrenDoc, DictsDoc, DiscoveriesDoc, DiscoveryDoc, ScriptsDoc};
use render::state::StateFileDoc;
use render::status::StatusDoc;

use crate::element::{KEYS, Kind};
use crate::problem::Problem;
use crate::put::Difference;
use crate::routes::{ApiRoute, Endpoint, ROUTES, Verb};

fn reference<T: JsonSchema>(made: &mut SchemaGenerator) -> Value {
    made.subschema_for::<T>().to_value()
}

/// The description of a new member, or one of a list.
fn element() -> Value {
    let mut keys = Map::new();
    keys.insert("url".into(), json!({ "type": "string", "description": "where it is" }));
    keys.insert(
        "meta".into(),
        json!({ "type": ["object", "null"], "additionalProperties": { "type": "string" } }),
    );
    for (key, kind) in KEYS {
        let types = match kind {
            Kind::Text => json!(["string", "null"]),
            Kind::Whole => json!(["integer", "null"]),
            Kind::Weight => json!(["number", "null"]),
            Kind::Duration => json!(["number", "string", "null"]),
            Kind::Size => json!(["integer", "string", "null"]),
            Kind::Switch | Kind::Flush => json!(["boolean", "string", "null"]),
        };
        keys.insert(key.into(), json!({ "type": types }));
    }
    json!({ "type": "object", "required": ["url"], "properties": keys,
            "description": "LuaBalancerMember's keys; what only a GET shows is left out" })
}

fn patch() -> Value {
    let admin = json!({ "enum": ["ready", "drain", "disabled", null] });
    json!({ "type": "object", "additionalProperties": false, "properties": {
        "admin": admin, "then": admin,
        "until": { "type": ["string", "number", "null"], "description": "a time, a duration, or seconds" },
        "note": { "type": ["string", "null"], "maxLength": balance::order::MAX_NOTE },
        "weight": { "type": ["number", "null"], "minimum": 0, "maximum": 65535 },
        "max_inflight": { "type": ["integer", "null"], "minimum": 0, "maximum": u32::MAX },
        "meta": { "type": ["object", "null"], "additionalProperties": { "type": ["string", "null"] } },
        "reset": { "type": "boolean" },
    } })
}

fn batch() -> Value {
    let item = json!({ "type": "object", "required": ["method", "path"], "additionalProperties": false,
        "properties": {
            "method": { "enum": ["GET", "POST", "PUT", "PATCH", "DELETE"] },
            "path": { "type": "string", "description": "from /api/v1/ on" },
            "body": {},
        } });
    json!({ "type": "array", "items": item })
}

fn question() -> Value {
    let text = json!({ "type": ["string", "null"] });
    let value = json!({ "type": ["string", "array"], "items": { "type": "string" } });
    json!({ "type": "object", "required": ["uri"], "additionalProperties": false, "properties": {
        "method": text, "uri": { "type": "string", "description": "path and query, or a URL" },
        "headers": { "type": ["object", "null"], "additionalProperties": value },
        "client": { "type": ["string", "null"], "description": "an address" },
        "user": text, "host": { "type": ["string", "null"], "description": "a name, and perhaps a port" },
    } })
}

/// The whole, or what `fields=` leaves of it.
fn in_parts(whole: Value) -> Value {
    json!({ "anyOf": [whole, { "type": "object", "description": "with fields=: these parts alone" }] })
}

fn document(target: Endpoint, made: &mut SchemaGenerator) -> Option<(&'static str, Value)> {
    let json = "application/json";
    Some(match target {
        Endpoint::Page => ("text/html", json!({ "type": "string" })),
        Endpoint::Asset => ("text/css", json!({ "type": "string" })),
        Endpoint::Metrics => ("text/plain", json!({ "type": "string" })),
        Endpoint::Links | Endpoint::OpenApi | Endpoint::Health => (json, json!({ "type": "object" })),
        Endpoint::Status => (json, reference::<StatusDoc<'_>>(made)),
        Endpoint::Pools => (json, in_parts(reference::<PoolsDoc<'_>>(made))),
        Endpoint::Pool => (json, in_parts(reference::<PoolDoc<'_>>(made))),
        Endpoint::Members => {
            (json, json!({ "type": "array", "items": in_parts(reference::<MemberDoc<'_>>(made)) }))
        }
        Endpoint::Member => (json, in_parts(reference::<MemberDoc<'_>>(made))),
        Endpoint::History => (json, reference::<HistoryDoc<'_>>(made)),
        Endpoint::Decisions => (json, reference::<DecisionsDoc<'_>>(made)),
        Endpoint::Events => (json, reference::<EventsDoc<'_>>(made)),
        Endpoint::Scripts => (json, reference::<ScriptsDoc<'_>>(made)),
        Endpoint::Dicts => (json, reference::<DictsDoc<'_>>(made)),
        Endpoint::Discovery => (json, reference::<DiscoveriesDoc<'_>>(made)),
        Endpoint::DiscoveryRefresh | Endpoint::DiscoveryAccept => (json, reference::<DiscoveryDoc<'_>>(made)),
        Endpoint::Children => (json, reference::<ChildrenDoc>(made)),
        Endpoint::State | Endpoint::StatePrune => (json, reference::<StateFileDoc>(made)),
        Endpoint::Explain => (json, reference::<ExplainedDoc>(made)),
        Endpoint::Batch => return None,
    })
}

/// The statuses of a method, with what they have to say.
fn statuses(route: &ApiRoute, method: Verb) -> Vec<(u16, &'static str)> {
    let has_names = route.path.contains('{');
    let is_marked =
        matches!(route.target, Endpoint::Pools | Endpoint::Pool | Endpoint::Members | Endpoint::Member);
    let mut all = Vec::new();
    let mut put = |statuses: &[u16], text| all.extend(statuses.iter().map(|status| (*status, text)));
    match (route.target, method) {
        (Endpoint::Members, Verb::Post) => put(&[201], "The new member."),
        (Endpoint::Member, Verb::Delete) => {
            put(&[202], "It drains first.");
            put(&[204], "It is removed.");
        }
        (Endpoint::Members, Verb::Put) => put(&[200], "The new list; with dry_run=1 what would change."),
        (_, Verb::Get) => put(&[200], "The document."),
        (Endpoint::Explain, _) => put(&[200], "The decision, and why."),
        _ => put(&[200], "The new document."),
    }
    if method == Verb::Get && is_marked {
        put(&[304], "It is as If-None-Match says.");
    }
    put(&[400], "The URL or the body cannot be read.");
    if has_names {
        put(&[404], "There is no such thing.");
    }
    put(&[421], "The Host is not this server's.");
    if route.target == Endpoint::Health {
        put(&[404], "There is no such pool.");
        put(&[422], "A parameter has a wrong value.");
        put(&[503], "It is not well.");
    }
    if matches!(route.target, Endpoint::Events | Endpoint::Decisions) {
        put(&[422], "A parameter has a wrong value.");
    }
    if route.target == Endpoint::StatePrune {
        put(&[503], "No child could write it in time.");
    }
    if method == Verb::Get && is_marked {
        put(&[422], "A parameter has a wrong value.");
    }
    if route.target == Endpoint::Explain {
        put(&[403], "It comes from another site's page.");
        put(&[413], "The body has more than 1 MiB.");
        put(&[415], "The body is not application/json.");
        put(&[422], "A key is unknown or has a wrong value.");
        put(&[503], "Other requests are being explained.");
    } else if method != Verb::Get {
        put(&[403], "Changes are off here, need a user, or come from another site's page.");
        if is_marked {
            put(&[412], "Somebody has changed it meanwhile: the current document.");
        }
        put(&[409], "The name is taken, or a configuration defines the member.");
        put(&[413], "The body has more than 1 MiB.");
        put(&[415], "The body is not application/json.");
        put(&[422], "A key is unknown or has a wrong value.");
        put(&[429], "Too many changes a second.");
        put(&[507], "The table is full.");
    }
    all.sort_unstable();
    all
}

fn parameters(route: &ApiRoute, method: Verb) -> Vec<Value> {
    let names = route.path.split('/').filter_map(|piece| piece.strip_prefix('{')?.strip_suffix('}'));
    let text = json!({ "type": "string" });
    let mut all: Vec<Value> =
        names.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": text })).collect();
    let mut put = |place: &str, name: &str, schema: Value, about: &str| {
        all.push(json!({ "name": name, "in": place, "schema": schema, "description": about }));
    };
    let one = json!({ "enum": ["0", "1"] });
    match (route.target, method) {
        (Endpoint::Pools | Endpoint::Pool | Endpoint::Members | Endpoint::Member, Verb::Get) => {
            put("query", "fields", text.clone(), "The parts to show: name,usable,members.name");
            let states = render::member::STATES.map(render::member::state_word);
            put("query", "state", json!({ "enum": states }), "Members of this state alone");
            put("header", "If-None-Match", text, "304 when the document still has this ETag");
        }
        (Endpoint::Members, Verb::Put) => {
            put("query", "dry_run", one.clone(), "1: say what would change, and change nothing");
            put("query", "local", one.clone(), "1: shared orders hold here alone for now");
            put("query", "force", one, "1: also remove what a configuration defines");
            put("header", "If-Match", text, "412 when membership, orders or state have changed since");
        }
        (Endpoint::Member, Verb::Delete) => {
            put("query", "drain", text.clone(), "Drain so long first, for example 30s");
            put("query", "local", one.clone(), "1: shared orders hold here alone for now");
            put("query", "force", one, "1: also when a configuration defines it");
            put("header", "If-Match", text, "412 when orders or state have changed since");
        }
        (Endpoint::Members, Verb::Post) | (Endpoint::Member, Verb::Patch) => {
            put("query", "local", one, "1: shared orders hold here alone for now");
            put("header", "If-Match", text, "412 when orders or state have changed since");
        }
        (Endpoint::Health, _) => {
            put("query", "pool", text, "503 unless this pool has enough usable members");
            put("query", "min", json!({ "type": "integer", "minimum": 0 }), "How many are enough; 1");
        }
        (Endpoint::Decisions, _) => {
            put("query", "pool", text.clone(), "Requests of this pool alone");
            put("query", "member", text.clone(), "Requests with an attempt at this member alone");
            put("query", "reason", text, "Requests that ended so alone, for example ok or connect");
        }
        (Endpoint::Events, _) => {
            let limit = json!({ "type": "integer", "minimum": 1, "maximum": 1024 });
            put(
                "query",
                "since",
                json!({ "type": "integer", "minimum": 0 }),
                "From this event on: the last next",
            );
            put("query", "pool", text.clone(), "Events of this pool alone");
            put("query", "limit", limit, "From since on so many, or the last so many");
            put("query", "wait", text, "Wait so long for one, at most 5m; at the Unix socket alone");
        }
        _ => {}
    }
    all
}

fn operation(route: &ApiRoute, method: Verb, about: &str, made: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    let problem = reference::<Problem>(made);
    for (status, text) in statuses(route, method) {
        let mut response = json!({ "description": text });
        let good = matches!(status, 200..=202 | 412);
        let dry = (route.target, method) == (Endpoint::Members, Verb::Put);
        if good && route.target == Endpoint::Batch {
            let item =
                json!({ "type": "object", "properties": { "status": { "type": "integer" }, "body": {} } });
            response["content"]["application/json"]["schema"] = json!({ "type": "array", "items": item });
        } else if status == 200 && dry {
            let list = json!({ "type": "array", "items": reference::<MemberDoc<'_>>(made) });
            let either = json!([list, reference::<Difference>(made)]);
            response["content"]["application/json"]["schema"] = json!({ "anyOf": either });
        } else if good {
            let target = if status == 201 { Endpoint::Member } else { route.target };
            if let Some((media, schema)) = document(target, made) {
                response["content"][media]["schema"] = schema;
            }
        } else if !matches!(status, 204 | 304) {
            response["content"]["application/problem+json"]["schema"] = problem.clone();
        }
        responses.insert(status.to_string(), response);
    }
    let mut all =
        json!({ "summary": about, "responses": responses, "parameters": parameters(route, method) });
    let body = match (route.target, method) {
        (Endpoint::Members, Verb::Post) => Some(element()),
        (Endpoint::Members, Verb::Put) => Some(json!({ "type": "array", "items": element() })),
        (Endpoint::Member, Verb::Patch) => Some(patch()),
        (Endpoint::Batch, _) => Some(batch()),
        (Endpoint::Explain, _) => Some(question()),
        _ => None,
    };
    if let Some(schema) = body {
        all["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    }
    all
}

fn description() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|to| {
        to.definitions_path = "/components/schemas".into();
        to.meta_schema = None;
    });
    let mut made = settings.for_serialize().into_generator();
    let mut paths = Map::new();
    for route in ROUTES {
        let mut path = Map::new();
        for (method, about) in route.methods {
            path.insert(method.name().to_ascii_lowercase(), operation(route, *method, about, &mut made));
        }
        paths.insert(route.path.into(), Value::Object(path));
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "mod_lua_balancer", "version": "1", "license": { "name": "Apache-2.0" },
                  "description": "Pools and members of a running server. Errors are of RFC 9457." },
        // From this description up to the base.
        "servers": [{ "url": "../.." }],
        "paths": paths,
        "components": { "schemas": made.take_definitions(true) },
    })
}

#[test]
fn the_description_that_is_served_is_made_of_the_types_that_serve() {
    let made = serde_json::to_string_pretty(&description()).expect("JSON") + "\n";
    super::golden::compare("../../../openapi.json", &made);
}

#[test]
fn every_url_of_the_table_is_in_the_reference_with_its_methods() {
    let reference = include_str!("../../../../docs/api.md");
    for route in ROUTES {
        let row = reference.lines().find(|line| line.starts_with(&format!("| `{}` |", route.path)));
        let row = row.unwrap_or_else(|| panic!("docs/api.md has no row of {}", route.path));
        for (method, _) in route.methods {
            assert!(row.contains(method.name()), "{row}: {}", method.name());
        }
    }
    let rows = reference.lines().filter_map(|line| line.strip_prefix("| `/")?.split_once('`'));
    for (path, _) in rows {
        let path = format!("/{path}");
        assert!(ROUTES.iter().any(|route| route.path == path), "docs/api.md: {path} is not a URL");
    }
}

#[test]
fn every_key_of_a_body_is_in_the_reference() {
    let reference = include_str!("../../../../docs/api.md");
    let keys = KEYS.iter().map(|(key, _)| *key).chain(crate::patch::KEYS).chain(["url", "meta"]);
    for key in keys {
        assert!(reference.contains(&format!("`{key}`")), "docs/api.md does not name {key}");
    }
}

#[test]
fn every_metric_is_in_the_reference_with_its_type_and_labels() {
    use render::metrics::{FAMILIES, PREFIX};
    let reference = include_str!("../../../../docs/metrics.md");
    for family in FAMILIES {
        let labels = family.labels.join(" ");
        let row =
            format!("| `{PREFIX}{}` | {} | {labels} | {} |", family.name, family.kind.word(), family.help);
        let row = row.replace("|  |", "| |");
        assert!(reference.contains(&row), "docs/metrics.md has no row\n{row}");
    }
    let rows = reference.lines().filter(|line| line.starts_with("| `luabalancer_")).count();
    assert_eq!(rows, FAMILIES.len(), "docs/metrics.md has rows of metrics that there are not");
}
