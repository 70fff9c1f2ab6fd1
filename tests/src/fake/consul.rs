// SPDX-License-Identifier: Apache-2.0
//! A Consul agent that knows one service, and what its documentation and its users tell of it:
//! blocking queries, indexes that go back, no leader, refusals, silence.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::{FakeServer, Question, Reply, lock};
use crate::backend::Backend;

/// How the agent answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsulManner {
    /// As it should.
    Well,
    /// 500 `No cluster leader`.
    NoLeader,
    /// 403 `Permission denied`, with the token that was sent.
    Denied,
    /// An empty list, as to a token that may read nothing.
    Filtered,
    /// Half of a chunked list, and the end of the connection.
    Half,
    /// Takes questions and says nothing.
    Silent,
    /// As it should, with an index of 0.
    ZeroIndex,
}

struct State {
    index: u64,
    instances: Vec<Value>,
    manner: ConsulManner,
}

/// See the module.
pub struct FakeConsul {
    /// Its server.
    pub server: FakeServer,
    state: Arc<Mutex<State>>,
}

impl FakeConsul {
    /// An agent with these instances of the service `app`.
    pub fn new(instances: Vec<Value>) -> Self {
        let state = Arc::new(Mutex::new(State { index: 10, instances, manner: ConsulManner::Well }));
        let shared = Arc::clone(&state);
        let server = FakeServer::start(move |question, reply| answer(&shared, question, reply));
        FakeConsul { server, state }
    }

    /// An instance whose checks have this status.
    pub fn instance(backend: &Backend, weight: u32, status: &str) -> Value {
        json!({
            "Node": {"Node": "n1", "Address": "127.0.0.1"},
            "Service": {"ID": backend.name(), "Service": "app", "Address": "", "Port": backend.port(),
                "Tags": null, "Meta": {"version": "7"}, "Weights": {"Passing": weight, "Warning": 1}},
            "Checks": [{"CheckID": "serfHealth", "Status": "passing"}, {"CheckID": "app", "Status": status}],
        })
    }

    /// Other instances from now on, by the next index.
    pub fn set(&self, instances: Vec<Value>) {
        let mut state = lock(&self.state);
        (state.index, state.instances) = (state.index + 1, instances);
    }

    /// The same instances by an index that is lower, as after a restored snapshot.
    pub fn go_back(&self, instances: Vec<Value>) {
        let mut state = lock(&self.state);
        (state.index, state.instances) = (3, instances);
    }

    /// Answers in this manner from now on; questions that wait are answered so as well.
    pub fn behave(&self, manner: ConsulManner) {
        lock(&self.state).manner = manner;
    }
}

fn answer(state: &Mutex<State>, question: &Question, reply: &mut Reply<'_>) {
    let number =
        |key: &str| question.value(key).and_then(|text| text.trim_end_matches("ms").parse::<u64>().ok());
    let (since, wait) = (number("index").unwrap_or(0), number("wait").unwrap_or(300_000));
    let manner = lock(state).manner;
    let is_over = || {
        let now = lock(state);
        // As documented: an index that is ahead of the agent's waits like any other.
        now.index > since || since > 0 && now.index < 10 && since >= 10 || now.manner != manner
    };
    if since > 0 {
        reply.wait(Duration::from_millis(wait), is_over);
    }
    let (index, body, manner) = {
        let now = lock(state);
        let passes = |one: &&Value| {
            let all = one["Checks"].as_array().into_iter().flatten();
            question.value("passing").is_none() || all.clone().all(|check| check["Status"] == "passing")
        };
        let all: Vec<&Value> = now.instances.iter().filter(passes).collect();
        (now.index, json!(all).to_string(), now.manner)
    };
    let headers = |index: u64| [("X-Consul-Index", index.to_string())];
    match manner {
        ConsulManner::Well => reply.whole(200, &headers(index), &body),
        ConsulManner::ZeroIndex => reply.whole(200, &headers(0), &body),
        ConsulManner::NoLeader => reply.whole(500, &[], "No cluster leader"),
        ConsulManner::Denied => {
            let token = question.headers.get("X-Consul-Token").unwrap_or_default();
            reply.whole(
                403,
                &[],
                &format!("Permission denied: token {token} lacks permission 'service:read'"),
            );
        }
        ConsulManner::Filtered => {
            let filtered = [("X-Consul-Results-Filtered-By-ACLs", "true".to_owned())];
            reply.whole(200, &filtered, "[]");
        }
        ConsulManner::Half => {
            reply.chunked(&headers(index));
            reply.chunk(&body[..body.len() / 2]);
        }
        ConsulManner::Silent => {
            reply.wait(Duration::from_secs(600), || lock(state).manner != ConsulManner::Silent);
        }
    }
}
