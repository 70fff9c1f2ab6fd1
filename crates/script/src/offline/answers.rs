// SPDX-License-Identifier: Apache-2.0
//! The answers of the world outside, given beforehand: no job gets at a socket here.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::context::wait::{Connection, HttpAnswer, Io, Reply};
use crate::error::ScriptError;
use crate::state::held::LuaState;
use crate::state::run::{CheckResult, Job, JobResult, Step};

/// Answers by question. A question without an answer is an error that says so.
#[derive(Debug, Default)]
pub struct Answers {
    http: BTreeMap<(String, String), HttpAnswer>,
    servers: BTreeMap<(String, u16), Vec<u8>>,
    names: BTreeMap<String, Vec<String>>,
}

/// A connection to a server that has its say whatever it is sent, and closes.
struct Talk {
    says: Vec<u8>,
    at: Cell<usize>,
}

/// Bytes of one receive.
const PIECE: usize = 4096;

impl Answers {
    /// Sets the answer to a request.
    pub fn http(&mut self, method: &str, url: &str, answer: HttpAnswer) {
        self.http.insert((method.to_owned(), url.to_owned()), answer);
    }

    /// A server at this place that sends this to each client.
    pub fn server(&mut self, host: &str, port: u16, says: &[u8]) {
        self.servers.insert((host.to_owned(), port), says.to_vec());
    }

    /// Addresses of a name.
    pub fn name(&mut self, host: &str, addresses: &[&str]) {
        self.names.insert(host.to_owned(), addresses.iter().map(|&address| address.to_owned()).collect());
    }

    /// Does what a job waits for.
    pub fn perform(&self, io: Io) -> Reply {
        match io {
            Io::Http(request) => {
                let key = (request.method, request.url);
                let answer = self.http.get(&key).cloned();
                Reply::Http(
                    answer.ok_or_else(|| format!("offline: no answer to {} {} is given", key.0, key.1)),
                )
            }
            Io::Resolve { host, .. } => {
                Reply::Resolved(self.names.get(&host).cloned().ok_or_else(|| "host not found".to_owned()))
            }
            Io::Connect { host, port, .. } => {
                let says = self.servers.get(&(host, port)).cloned();
                let connected = says.map(|says| Connection(Rc::new(Talk { says, at: Cell::new(0) })));
                Reply::Connected(connected.ok_or_else(|| "connection refused".to_owned()))
            }
            Io::Sleep { .. } => Reply::Slept,
            Io::Send { .. } => Reply::Sent(Ok(())),
            Io::Receive { on, .. } => Reply::Received(receive(&on)),
        }
    }

    /// Runs a job alone to its end.
    ///
    /// # Errors
    /// The script's.
    pub fn finish(&self, state: &LuaState, mut job: Job) -> Result<Option<CheckResult>, ScriptError> {
        let mut reply = Reply::Nothing;
        loop {
            reply = match state.resume(&mut job, reply) {
                Step::Done(result) => {
                    return result.map(|result| match result {
                        Some(JobResult::Check(result)) => Some(result),
                        Some(JobResult::List(_)) | None => None,
                    });
                }
                Step::Again => Reply::Nothing,
                Step::Wait(io) => self.perform(io),
            };
        }
    }

    /// Runs the timers that are due at `now`; gives what failed.
    pub fn run_due(&self, state: &LuaState, now: f64) -> Vec<ScriptError> {
        let runs = state.due(now).into_iter().map(|job| self.finish(state, job?));
        runs.filter_map(Result::err).collect()
    }
}

fn receive(on: &Connection) -> Result<Vec<u8>, String> {
    let Ok(talk) = on.0.clone().downcast::<Talk>() else { return Err("closed".into()) };
    let rest = talk.says.get(talk.at.get()..).unwrap_or_default();
    let piece = &rest[..rest.len().min(PIECE)];
    if piece.is_empty() {
        return Err("closed".into());
    }
    talk.at.set(talk.at.get() + piece.len());
    Ok(piece.to_vec())
}
