// SPDX-License-Identifier: Apache-2.0
//! All servers that a verb speaks to.

use std::thread;

use serde_json::{Map, Value, json};

use super::args::Login;
use super::client::{Link, ServerReply};
use super::model::{SeenPool, SeenPools};
use super::place::{self, Door};
use crate::out::{Exit, Failure, Out, VerbResult};

/// See the module. At least one.
pub struct Servers {
    /// In order of the command line.
    pub all: Vec<Link>,
}

/// The answer of a server.
pub struct Said<T> {
    /// The server.
    pub server: String,
    /// The answer.
    pub what: T,
}

/// The answers of all servers.
pub struct Everyone<T> {
    /// The answers.
    pub said: Vec<Said<T>>,
    /// Why the others have not.
    pub failed: Vec<Failure>,
}

impl Servers {
    /// The servers of the command line.
    pub fn of(login: &Login) -> Result<Self, Failure> {
        Self::at(&place::of_login(login)?, login.reach.ca.as_deref())
    }

    /// The servers behind these doors.
    pub fn at(doors: &[Door], ca: Option<&std::path::Path>) -> Result<Self, Failure> {
        let all = doors.iter().map(|door| Link::new(door, ca));
        Ok(Servers { all: all.collect::<Result<_, _>>()? })
    }

    /// Whether there are several.
    pub fn are_many(&self) -> bool {
        self.all.len() > 1
    }

    /// Asks all of them at the same time.
    pub fn ask<T: Send>(&self, question: impl Fn(&Link) -> Result<T, Failure> + Sync) -> Everyone<T> {
        let question = &question;
        let answers: Vec<Result<T, Failure>> = thread::scope(|scope| {
            let asked: Vec<_> = self.all.iter().map(|link| scope.spawn(move || question(link))).collect();
            let lost = || Err(Failure { exit: Exit::No, text: "the asking has failed".into() });
            asked.into_iter().map(|asked| asked.join().unwrap_or_else(|_| lost())).collect()
        });
        let mut everyone = Everyone { said: Vec::new(), failed: Vec::new() };
        for (link, answer) in self.all.iter().zip(answers) {
            match answer {
                Ok(what) => everyone.said.push(Said { server: link.name.clone(), what }),
                Err(failure) => everyone.failed.push(failure),
            }
        }
        everyone
    }
}

impl<T> Everyone<T> {
    /// The answers of all, or the first failure.
    pub fn all(self) -> Result<Vec<Said<T>>, Failure> {
        match self.failed.into_iter().next() {
            Some(failure) => Err(failure),
            None => Ok(self.said),
        }
    }

    /// The answers of servers that answer; the others are told. The verb ends as the worst did.
    pub fn some(self, out: &Out) -> Result<(Vec<Said<T>>, Exit), Failure> {
        if self.said.is_empty() {
            let worst = (0..self.failed.len()).max_by_key(|at| self.failed[*at].exit as u8);
            let mut failed = self.failed;
            let last = worst.map(|at| failed.remove(at));
            failed.iter().for_each(|failure| out.fail(failure));
            return last.map_or(Ok((Vec::new(), Exit::Done)), Err);
        }
        self.failed.iter().for_each(|failure| out.fail(failure));
        let worst = self.failed.iter().map(|failure| failure.exit).max_by_key(|exit| *exit as u8);
        Ok((self.said, worst.unwrap_or(Exit::Done)))
    }
}

/// The pools of a server.
pub fn pools(link: &Link) -> Result<(ServerReply, Vec<SeenPool>), Failure> {
    let reply = link.get("/api/v1/pools")?;
    let seen: SeenPools = link.read(&reply.body)?;
    Ok((reply, seen.pools))
}

/// Writes documents: one as it is, those of several servers each with its server's name.
pub fn documents(out: &Out, said: &[Said<Value>], differences: Vec<Value>) -> Result<(), Failure> {
    if let [one] = said {
        return Ok(out.json(&one.what)?);
    }
    let servers: Vec<Value> =
        said.iter().map(|one| json!({ "server": one.server, "document": one.what })).collect();
    let mut whole = Map::new();
    whole.insert("servers".into(), servers.into());
    whole.insert("differences".into(), differences.into());
    Ok(out.json(&whole)?)
}

/// A verb that shows one document.
pub fn show(
    out: &Out,
    servers: &Servers,
    path: &str,
    words: impl Fn(&Link, &Value) -> VerbResult,
) -> VerbResult {
    let (said, exit) = servers.ask(|link| link.get(path)).some(out)?;
    if out.is_json() {
        let said: Vec<_> =
            said.into_iter().map(|one| Said { server: one.server, what: one.what.body }).collect();
        documents(out, &said, Vec::new())?;
        return Ok(exit);
    }
    for one in said {
        if servers.are_many() {
            out.line(&format!("{}:", one.server))?;
        }
        let link = servers.all.iter().find(|link| link.name == one.server);
        if let Some(link) = link {
            words(link, &one.what.body)?;
        }
    }
    Ok(exit)
}
