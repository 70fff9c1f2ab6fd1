// SPDX-License-Identifier: Apache-2.0
//! Documents.

use balance::snapshot::{Extent, Snapshot};
use render::fields::Fields;
use render::history::HistoryDoc;
use render::mark::Mark;
use render::member::{STATES, state_word};
use render::metrics::{self, Format};
use render::{Shown, html, text};
use serde::Serialize;
use serde_json::{Value, json};

use crate::asked::Asked;
use crate::condition;
use crate::find::{member, no_pool, pool};
use crate::headers;
use crate::problem::{Problem, shown};
use crate::routes::{Endpoint, ROUTES, Verb};
use crate::types::{House, Response};

/// The API's description, as a test makes it from the types that serve.
const OPENAPI: &str = include_str!("../openapi.json");
const JSON: &str = "application/json";

/// Runs `body` with what documents are made from.
pub(crate) fn with_view<T>(house: &dyn House, all: &Snapshot, body: impl FnOnce(&Shown<'_>) -> T) -> T {
    let (facts, place) = (house.facts(), |pool: &str, member: &str| house.place(pool, member));
    body(&Shown { all, facts: &facts, now: house.now(), place: &place })
}

/// The answer to a GET of this place.
pub(crate) fn document(asked: &Asked<'_>, target: Endpoint) -> Result<Response, Problem> {
    match target {
        Endpoint::Page => return Ok(page(asked)),
        Endpoint::Asset => return asset(asked),
        Endpoint::Links => return plain(&links()),
        Endpoint::OpenApi => return Ok(answer(JSON, OPENAPI.into())),
        Endpoint::Metrics => return Ok(metrics(asked)),
        Endpoint::Health => return health(asked),
        _ => {}
    }
    let extent = match target {
        Endpoint::Pool | Endpoint::Members | Endpoint::History => asked.pool(),
        Endpoint::Member => asked.member(),
        _ => Extent::All,
    };
    document_of(asked, target, &asked.house.snapshot(extent))
}

/// The answer to a GET of this place, from this snapshot.
pub(crate) fn document_of(asked: &Asked<'_>, target: Endpoint, all: &Snapshot) -> Result<Response, Problem> {
    match target {
        Endpoint::Pools => {
            let mark = Mark::of_pools(&all.pools);
            with_view(asked.house, all, |view| marked(asked, mark, &view.pools()))
        }
        Endpoint::Pool => {
            let pool = pool(all, asked.name(0))?;
            with_view(asked.house, all, |view| marked(asked, Mark::of_pool(pool), &view.pool(pool)))
        }
        Endpoint::Members => {
            let pool = pool(all, asked.name(0))?;
            with_view(asked.house, all, |view| marked(asked, Mark::of_pool(pool), &view.members(pool)))
        }
        Endpoint::Member => {
            let (pool, member) = member(all, asked.name(0), asked.name(1))?;
            let mark = Mark::of_member(member);
            with_view(asked.house, all, |view| marked(asked, mark, &view.member(pool, member)))
        }
        Endpoint::History => {
            let pool = pool(all, asked.name(0))?;
            let history = asked.house.history(&pool.name).unwrap_or_default();
            plain(&HistoryDoc::of(&pool.name, &history))
        }
        Endpoint::Status => with_view(asked.house, all, |view| plain(&view.status())),
        Endpoint::Scripts => with_view(asked.house, all, |view| plain(&view.scripts())),
        Endpoint::Dicts => with_view(asked.house, all, |view| plain(&view.dicts())),
        Endpoint::Discovery => with_view(asked.house, all, |view| plain(&view.discovery())),
        Endpoint::Children => with_view(asked.house, all, |view| plain(&view.children())),
        _ => Err(Problem::new(404, "there is nothing here")),
    }
}

pub(crate) fn answer(content_type: &str, body: Vec<u8>) -> Response {
    Response { status: 200, headers: vec![("Content-Type", content_type.to_owned())], body }
}

fn broken(_: serde_json::Error) -> Problem {
    Problem::new(500, "the document cannot be written")
}

pub(crate) fn plain(document: &impl Serialize) -> Result<Response, Problem> {
    Ok(answer(JSON, serde_json::to_vec(document).map_err(broken)?))
}

/// A document with its mark; the mark alone for a client that has the document.
fn marked(asked: &Asked<'_>, mark: Mark, document: &impl Serialize) -> Result<Response, Problem> {
    let parts = Parts::of(asked)?;
    if condition::has_it(asked.request, mark) {
        return Ok(Response { status: 304, headers: vec![("ETag", mark.to_string())], body: Vec::new() });
    }
    Ok(with_mark(200, mark, parts.written(document)?))
}

/// A document as the answer of a change.
pub(crate) fn changed(status: u16, mark: Mark, document: &impl Serialize) -> Result<Response, Problem> {
    Ok(with_mark(status, mark, serde_json::to_vec(document).map_err(broken)?))
}

fn with_mark(status: u16, mark: Mark, body: Vec<u8>) -> Response {
    let mut response = Response { status, ..answer(JSON, body) };
    response.headers.push(("ETag", mark.to_string()));
    response
}

/// The parts that `fields=` and `state=` ask for.
struct Parts {
    fields: Option<Fields>,
    state: Option<&'static str>,
}

impl Parts {
    fn of(asked: &Asked<'_>) -> Result<Self, Problem> {
        let fields = asked.query.get("fields")?.map(|text| {
            let expected = "paths of keys such as name,usable,members.name";
            // In the list of all pools they are those of each pool.
            let paths: Vec<&str> =
                text.split(',').map(|path| path.trim().trim_start_matches("pools.")).collect();
            Fields::parse(&paths.join(",")).ok_or_else(|| Problem::value("fields", text, expected))
        });
        let state = asked.query.get("state")?.map(state).transpose()?;
        Ok(Parts { fields: fields.transpose()?, state })
    }

    fn written(self, document: &impl Serialize) -> Result<Vec<u8>, Problem> {
        if self.fields.is_none() && self.state.is_none() {
            return serde_json::to_vec(document).map_err(broken);
        }
        let mut value = serde_json::to_value(document).map_err(broken)?;
        if let Some(state) = self.state {
            keep_state(&mut value, state);
        }
        if let Some(fields) = self.fields {
            match value.get_mut("pools").map(Value::take) {
                Some(pools) => value["pools"] = fields.apply(pools),
                None => value = fields.apply(value),
            }
        }
        serde_json::to_vec(&value).map_err(broken)
    }
}

fn state(text: &str) -> Result<&'static str, Problem> {
    let mut words = STATES.map(state_word).into_iter();
    words
        .find(|word| *word == text)
        .ok_or_else(|| Problem::value("state", text, format!("one of {}", STATES.map(state_word).join(", "))))
}

/// Leaves the members of a state, wherever lists of them are.
fn keep_state(value: &mut Value, state: &str) {
    match value {
        Value::Object(all) => {
            if let Some(pools) = all.get_mut("pools").and_then(Value::as_array_mut) {
                pools.iter_mut().for_each(|pool| keep_state(pool, state));
            }
            if let Some(members) = all.get_mut("members") {
                keep_state(members, state);
            }
        }
        Value::Array(members) => members.retain(|member| member["state"] == state),
        _ => {}
    }
}

fn links() -> Value {
    let places = ROUTES.iter().filter(|route| route.path.starts_with("/api/v1/") && route.path != "/api/v1/");
    let links = places.map(|route| {
        let methods: Vec<&str> = route.methods.iter().map(|(method, _)| method.name()).collect();
        // Relative to this document.
        json!({ "href": route.path.trim_start_matches("/api/v1/"), "methods": methods })
    });
    json!({ "links": links.collect::<Vec<_>>() })
}

fn page(asked: &Asked<'_>) -> Response {
    let all = asked.house.snapshot(Extent::All);
    let (text, html) = ("text/plain", "text/html");
    with_view(asked.house, &all, |view| {
        if headers::wants(asked.request, text) > headers::wants(asked.request, html) {
            answer("text/plain; charset=utf-8", text::table(view).into())
        } else {
            answer("text/html; charset=utf-8", html::page(view).into())
        }
    })
}

fn asset(asked: &Asked<'_>) -> Result<Response, Problem> {
    let asset = html::asset(asked.name(0));
    let asset =
        asset.ok_or_else(|| Problem::new(404, format!("{}: there is nothing here", shown(asked.name(0)))))?;
    let mut response = answer(asset.content_type, asset.text.into());
    response.headers.push(("Cache-Control", "public, max-age=31536000, immutable".to_owned()));
    Ok(response)
}

fn metrics(asked: &Asked<'_>) -> Response {
    let (house, began) = (asked.house, asked.house.now());
    let open = "application/openmetrics-text";
    let is_open = headers::names(asked.request, open)
        && headers::wants(asked.request, open) >= headers::wants(asked.request, "text/plain");
    let format = if is_open { Format::OpenMetrics } else { Format::Text };
    let all = house.snapshot(Extent::All);
    let elapsed = || house.now().duration_since(began).unwrap_or_default().as_secs_f64();
    let made = with_view(house, &all, |view| metrics::metrics(view, format, house.metrics(), &elapsed));
    house.metrics_reduced(made.reduced);
    answer(format.content_type(), made.text.into())
}

/// Whether the lead is fresh, and a pool has enough members. It is asked often, and reads no more
/// than that.
fn health(asked: &Asked<'_>) -> Result<Response, Problem> {
    let min = match asked.query.get("min")? {
        None => 1,
        Some(text) => {
            let plain = text.len() <= 9 && !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text.parse::<usize>().ok().filter(|_| plain);
            number.ok_or_else(|| Problem::value("min", text, "a number of members, for example 2"))?
        }
    };
    let found = |name: &str| asked.house.usable(name).ok_or_else(|| no_pool(name));
    let asked_pool = asked.query.get("pool")?.map(found).transpose()?;
    if !asked.house.lead().is_some_and(|lead| lead.fresh) {
        return Err(Problem::new(503, "no child leads").with("Retry-After", "1"));
    }
    match asked_pool {
        Some((name, usable)) if usable < min => {
            let detail = format!("pool {name} has {usable} usable members, fewer than {min}");
            Err(Problem::new(503, detail).with("Retry-After", "1"))
        }
        Some((name, usable)) => plain(&json!({ "status": "ok", "pool": &*name, "usable": usable })),
        None => plain(&json!({ "status": "ok" })),
    }
}

/// Whether a method is one that a batch may have.
pub(crate) fn is_document(target: Endpoint, method: Verb) -> bool {
    method == Verb::Get
        && matches!(target, Endpoint::Pools | Endpoint::Pool | Endpoint::Members | Endpoint::Member)
}
