// SPDX-License-Identifier: Apache-2.0
//! An API server of Kubernetes that knows the EndpointSlices of one service: pages, watches with
//! bookmarks, versions that are gone, tokens that expire, silence.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{FakeServer, Question, Reply, lock};
use crate::backend::Backend;

/// From one bookmark to the next.
const BOOKMARK: Duration = Duration::from_millis(200);

/// How the server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KubernetesManner {
    /// As it should.
    Well,
    /// Gives the first page of a list whole, and half of the others.
    HalfLists,
    /// Takes questions and says nothing; watches are silent as well.
    Silent,
    /// Cuts the connections of watches, and lists.
    CutsWatches,
    /// Lists, and lets nobody watch; watches that are open go on.
    DeniesWatches,
}

struct State {
    version: u64,
    /// Versions up to this one are gone.
    gone: u64,
    slices: BTreeMap<String, Value>,
    events: Vec<(u64, Value)>,
    manner: KubernetesManner,
    /// The token that is good.
    token: String,
}

impl State {
    fn slice(&self, name: &str, endpoints: &Value) -> Value {
        json!({
            "metadata": {"name": name, "resourceVersion": self.version.to_string()},
            "addressType": "IPv4",
            "ports": [{"name": "", "port": 1, "protocol": "UDP"}],
            "endpoints": endpoints,
        })
    }
}

/// See the module.
pub struct FakeKubernetes {
    /// Its server.
    pub server: FakeServer,
    state: Arc<Mutex<State>>,
}

impl FakeKubernetes {
    /// A server without slices.
    pub fn new(token: &str) -> Self {
        let state = State {
            version: 100,
            gone: 0,
            slices: BTreeMap::new(),
            events: Vec::new(),
            manner: KubernetesManner::Well,
            token: token.to_owned(),
        };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let server = FakeServer::start(move |question, reply| answer(&shared, question, reply));
        FakeKubernetes { server, state }
    }

    /// A slice for each backend, whose endpoints have these conditions.
    pub fn set(&self, backend: &Backend, conditions: Value) {
        let mut state = lock(&self.state);
        state.version += 1;
        let name = format!("app-{}", backend.name());
        let endpoints = json!([{"addresses": ["127.0.0.1"], "conditions": conditions}]);
        let mut slice = state.slice(&name, &endpoints);
        slice["ports"][0] = json!({"name": "http", "port": backend.port(), "protocol": "TCP"});
        let kind = if state.slices.contains_key(&name) { "MODIFIED" } else { "ADDED" };
        let version = state.version;
        state.events.push((version, json!({"type": kind, "object": slice})));
        state.slices.insert(name, slice);
    }

    /// A backend's slice is gone.
    pub fn remove(&self, backend: &Backend) {
        let mut state = lock(&self.state);
        state.version += 1;
        if let Some(slice) = state.slices.remove(&format!("app-{}", backend.name())) {
            let version = state.version;
            state.events.push((version, json!({"type": "DELETED", "object": slice})));
        }
    }

    /// Answers in this manner from now on; watches that are open end, or fall silent.
    pub fn behave(&self, manner: KubernetesManner) {
        lock(&self.state).manner = manner;
    }

    /// All versions up to now are gone, and with them the events: watches hear of it at once.
    pub fn compact(&self) {
        let mut state = lock(&self.state);
        state.version += 1;
        state.gone = state.version;
        state.version += 1;
        state.events.clear();
    }

    /// Another token is good from now on; watches that are open end.
    pub fn set_token(&self, token: &str) {
        lock(&self.state).token = token.to_owned();
    }
}

fn status(code: u16, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message})
}

fn answer(state: &Mutex<State>, question: &Question, reply: &mut Reply<'_>) {
    let (manner, token) = {
        let now = lock(state);
        (now.manner, now.token.clone())
    };
    let sent = question.headers.get("Authorization").unwrap_or_default();
    if sent != format!("Bearer {token}") {
        let why = status(401, &format!("Unauthorized: {sent}"));
        return reply.whole(401, &[], &why.to_string());
    }
    if manner == KubernetesManner::Silent {
        reply.wait(Duration::from_secs(600), || lock(state).manner != KubernetesManner::Silent);
        return;
    }
    match question.value("watch") {
        Some(_) if manner == KubernetesManner::DeniesWatches => {
            reply.whole(403, &[], &status(403, "it cannot watch").to_string());
        }
        Some(_) => watch(state, question, reply),
        None => list(state, question, reply, manner),
    }
}

/// One slice a page.
fn list(state: &Mutex<State>, question: &Question, reply: &mut Reply<'_>, manner: KubernetesManner) {
    let (version, slices) = {
        let now = lock(state);
        (now.version, now.slices.values().cloned().collect::<Vec<_>>())
    };
    let at = question.value("continue").map_or(0, |token| token.parse().unwrap_or(usize::MAX));
    let next = if at + 1 < slices.len() { (at + 1).to_string() } else { String::new() };
    let items: Vec<&Value> = slices.iter().skip(at).take(1).collect();
    // An empty list is null where Go writes it.
    let items = if items.is_empty() { Value::Null } else { json!(items) };
    let metadata = json!({"resourceVersion": version.to_string(), "continue": next});
    let body = json!({"kind": "EndpointSliceList", "metadata": metadata, "items": items}).to_string();
    if manner == KubernetesManner::HalfLists && at > 0 {
        reply.chunked(&[]);
        reply.chunk(&body[..body.len() / 2]);
    } else {
        reply.whole(200, &[], &body);
    }
}

fn watch(state: &Mutex<State>, question: &Question, reply: &mut Reply<'_>) {
    let number = |key: &str| question.value(key).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let (mut seen, seconds) = (number("resourceVersion"), number("timeoutSeconds"));
    reply.chunked(&[]);
    let (began, mut bookmark) = (Instant::now(), Instant::now());
    let token = lock(state).token.clone();
    while began.elapsed() < Duration::from_secs(seconds) {
        let (now, manner, gone, news) = {
            let now = lock(state);
            let news: Vec<_> = now.events.iter().filter(|(version, _)| *version > seen).cloned().collect();
            if now.token != token {
                break;
            }
            (now.version, now.manner, now.gone, news)
        };
        match manner {
            KubernetesManner::Silent => {
                reply.wait(Duration::from_secs(600), || lock(state).manner != KubernetesManner::Silent);
                return;
            }
            KubernetesManner::CutsWatches => return,
            KubernetesManner::HalfLists | KubernetesManner::DeniesWatches | KubernetesManner::Well => {}
        }
        if seen < gone {
            let event = json!({"type": "ERROR", "object": status(410, "too old resource version")});
            reply.chunk(&format!("{event}\n"));
            break;
        }
        for (version, event) in news {
            seen = version;
            // In two pieces, as networks have it.
            let text = format!("{event}\n");
            let (head, tail) = text.split_at(text.len() / 2);
            if !reply.chunk(head) || !reply.chunk(tail) {
                return;
            }
        }
        if bookmark.elapsed() >= BOOKMARK {
            (bookmark, seen) = (Instant::now(), now.max(seen));
            let object = json!({"kind": "EndpointSlice", "metadata": {"resourceVersion": seen.to_string()}});
            reply.chunk(&format!("{}\n", json!({"type": "BOOKMARK", "object": object})));
        }
        if reply.is_over() {
            return;
        }
        reply.wait(Duration::from_millis(20), || false);
    }
    reply.last_chunk();
}
