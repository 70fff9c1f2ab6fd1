// SPDX-License-Identifier: Apache-2.0
//! The plain host answers as every host does.
#![allow(missing_docs)]

mod common;
mod contract;

use std::rc::Rc;
use std::sync::Arc;

use common::Folder;
use contract::{ADDRESS, Around, BODY, DICTS, HEADERS, POOLS, TARGET, cases, compare, script};
use script::host::{Dict as _, Location, RequestTable, Scalar, Server as _};
use script::offline::{Answers, Overlay, PlainDict, PlainRequest, PlainServer, Pools};
use script::{Answer, HttpAnswer, Library, Limits, LuaState, Phase, ScriptId, judge};

struct Plain {
    server: Rc<PlainServer>,
    request: Rc<PlainRequest>,
    pools: Pools,
    library: Arc<Library>,
    id: ScriptId,
    _folder: Folder,
}

fn around() -> Around {
    Around { server: ("127.0.0.1".into(), 8099), closed: 8098 }
}

fn start() -> Plain {
    let folder = Folder::new();
    let path = folder.write("contract.lua", &script(&around()));
    let limits = Limits { time_ms: 2000, memory_bytes: 16 << 20, timer_time_ms: 5000 };
    let mut builder = Library::builder().limits(limits);
    let id = builder.file(&path, &[]);
    let server = Rc::new(PlainServer::default());
    for (name, kib) in DICTS {
        server.add_dict(name, kib << 10);
    }
    server.define("CONTRACT");
    let text = |text: &str| Some(text.to_owned());
    let place = Location {
        country: text("CN"),
        country_name: text("China"),
        continent: text("AS"),
        city: text("Changchun"),
        time_zone: text("Asia/Harbin"),
        ..Location::default()
    };
    server.add_place(ADDRESS, Some(place));
    let pools = Pools::default();
    pools.configure(POOLS).expect("pools");
    let library = Arc::new(builder.build());
    let candidate = judge(&library, id, server.clone(), pools.balancer()).expect("a script");
    library.install(id, candidate.bundle, 1);
    Plain { server, request: Rc::new(PlainRequest::none()), pools, library, id, _folder: folder }
}

impl Plain {
    fn state(&self) -> LuaState {
        LuaState::new(self.server.clone(), self.request.clone(), self.pools.balancer(), self.library.clone())
            .expect("a state")
    }

    fn begin(&self, method: &str, target: &str, number: usize) {
        self.request.begin(method, target);
        HEADERS.iter().for_each(|(key, value)| self.request.header(key, value));
        self.request.header("X-Case", &number.to_string());
        if method == "POST" {
            self.request.header("Content-Type", "application/x-www-form-urlencoded");
            self.request.put_body(BODY.as_bytes());
        }
    }

    fn pages(&self, section: &str, method: &str) -> Vec<String> {
        let state = self.state();
        let pages = (1..=cases(section).len()).map(|number| {
            self.begin(method, TARGET, number);
            match state.select(self.id, "case", Phase::Translate) {
                Ok(Answer::Page { body, .. }) => String::from_utf8_lossy(&body).into_owned(),
                other => format!("{other:?}"),
            }
        });
        pages.collect()
    }

    /// Status, place to go to, and page of an answer, as a client sees them.
    fn seen(&self, answer: Result<Answer, script::ScriptError>) -> String {
        let own = u16::try_from(script::host::Request::number(&*self.request, script::host::Number::Status))
            .unwrap();
        let (status, page) = match answer {
            Ok(Answer::Decline) => (404, None),
            Ok(Answer::Status(status)) => (status, self.request.page(status)),
            Ok(Answer::Done) => (own, None),
            Ok(Answer::Page { status, body }) => (status.unwrap_or(own), Some(body)),
            Ok(Answer::NoMember { .. }) => (503, self.request.page(503)),
            Err(_) => (500, None),
            Ok(other) => return format!("{other:?}"),
        };
        let place = [RequestTable::HeadersOut, RequestTable::ErrHeadersOut].iter();
        let place = place.filter_map(|table| self.request.value(*table, "Location")).next();
        let page = page.map(|page| String::from_utf8_lossy(&page).trim_end().to_owned());
        format!("{status} {} {}", place.unwrap_or("-".into()), page.unwrap_or_default()).trim_end().to_owned()
    }
}

#[test]
fn requests_pools_and_dictionaries_are_those_of_a_server() {
    let plain = start();
    compare("get", &plain.pages("get", "GET"));
}

#[test]
fn bodies_are_those_of_a_server() {
    compare("post", &start().pages("post", "POST"));
}

#[test]
fn answers_are_those_of_a_server() {
    let plain = start();
    let state = plain.state();
    let seen = (1..=cases("answer").len()).map(|number| {
        plain.begin("GET", "/answer", number);
        plain.seen(state.select(plain.id, "answer", Phase::Translate))
    });
    compare("answer", &seen.collect::<Vec<_>>());
}

#[test]
fn jobs_get_the_answers_that_were_given() {
    let plain = start();
    let state = LuaState::background(
        plain.server.clone(),
        plain.pools.balancer(),
        plain.library.clone(),
        Arc::default(),
    );
    let state = state.expect("a state");
    state.load(plain.id).expect("the script");
    let (host, port) = around().server;
    let mut answers = Answers::default();
    let answer =
        HttpAnswer { status: 200, headers: vec![("X-Y".into(), b"z".to_vec())], body: b"hello".to_vec() };
    for method in ["GET", "POST"] {
        answers.http(method, &format!("http://{host}:{port}/x"), answer.clone());
    }
    answers.server(&host, port, b"HTTP/1.1 200 Whatever\r\nX-Y: z\r\nContent-Length: 5\r\n\r\nhello");
    answers.name("localhost", &["127.0.0.1"]);
    plain.server.clock().pass(1.0);
    let failed = answers.run_due(&state, plain.server.clock().now());
    assert!(failed.is_empty(), "{failed:?}");
    let dict = plain.server.dict("jobs").expect("a dictionary");
    let told = (1..=cases("job").len()).map(|number| match dict.get(number.to_string().as_bytes()) {
        Ok(Some(Scalar::Text(text))) => String::from_utf8_lossy(&text).into_owned(),
        other => format!("{other:?}"),
    });
    compare("job", &told.collect::<Vec<_>>());
}

#[test]
fn an_answer_that_is_not_given_is_an_error_that_says_so() {
    let io = script::Io::Http(script::HttpRequest {
        url: "http://h/".into(),
        method: "GET".into(),
        headers: Vec::new(),
        body: Vec::new(),
        verify: true,
        timeout: std::time::Duration::from_secs(1),
    });
    let script::Reply::Http(Err(why)) = Answers::default().perform(io) else { panic!("an answer") };
    assert_eq!(why, "offline: no answer to GET http://h/ is given");
}

#[test]
fn a_dictionary_over_another_one_answers_as_its_own_and_changes_nothing_below() {
    let below = Rc::new(PlainDict::new(Rc::default(), 1 << 20));
    below.store(script::host::Store::Set, b"k", Scalar::Integer(1), 0.0).expect("room");
    let above = Overlay::over(below.clone());
    assert_eq!(above.get_stale(b"k"), Ok(Some((Scalar::Integer(1), false))));
    above.incr(b"k", Scalar::Integer(4), None, 0.0).expect("a number");
    assert_eq!(above.get_stale(b"k"), Ok(Some((Scalar::Integer(5), false))));
    above.delete(b"k").expect("gone");
    assert_eq!((above.get_stale(b"k"), above.get(b"k")), (Ok(None), Ok(None)));
    assert_eq!(below.get(b"k"), Ok(Some(Scalar::Integer(1))));
}
