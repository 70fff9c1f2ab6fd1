// SPDX-License-Identifier: Apache-2.0
//! The life of one target: wait until it is due, check it, report, again.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use balance::settings::CheckKind;
use net::Link;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use crate::agent::{self, AgentReply};
use crate::engine::Engine;
use crate::failure::{self, Failure, Stage};
use crate::http::HttpCheck;
use crate::plan::Plan;
use crate::schedule::Schedule;
use crate::target::{CheckTarget, Observation};

/// A check that came to an end.
struct Passed {
    ok: bool,
    why: String,
    agent: Option<AgentReply>,
}

impl Passed {
    fn ok(why: String) -> Self {
        Passed { ok: true, why, agent: None }
    }
}

/// One target's task.
pub(crate) struct Watch {
    pub(crate) id: u64,
    pub(crate) engine: Rc<Engine>,
    pub(crate) target: CheckTarget,
    pub(crate) plan: Plan,
    pub(crate) schedule: Schedule,
}

impl Watch {
    /// Never ends by itself.
    pub(crate) async fn run(mut self) {
        let mut kept = None;
        loop {
            tokio::time::sleep_until(self.schedule.due()).await;
            let Ok(permit) = self.engine.busy.acquire().await else { return };
            let started = Instant::now();
            let result = self.check(started, &mut kept).await;
            drop(permit);
            self.schedule.advance(started, Instant::now());
            self.report(started, result);
        }
    }

    async fn check(&self, started: Instant, kept: &mut Option<Link>) -> Result<Passed, Failure> {
        let timeout = Duration::from_millis(self.plan.check.timeout_ms.max(1));
        let stage = Cell::new(Stage::Connect);
        let work = caught(self.once(started + timeout, &stage, kept));
        match self.engine.within(timeout, work).await {
            Some(Some(result)) => result,
            Some(None) => {
                let (member, pool) = (&self.target.member.spec.name, &self.target.pool);
                let why =
                    format!("the check of member {member} of pool {pool} panicked: a defect of this module");
                Err(net::Failure::Here(why).into())
            }
            None => Err(net::Failure::TimedOut { after: timeout, stage: stage.get() }.into()),
        }
    }

    async fn once(
        &self,
        deadline: Instant,
        stage: &Cell<Stage>,
        kept: &mut Option<Link>,
    ) -> Result<Passed, Failure> {
        match self.plan.check.kind {
            CheckKind::Tcp => self.connect(deadline, stage).await.map(|_| Passed::ok("connected".into())),
            CheckKind::Http | CheckKind::Https => {
                let (engine, plan) = (&*self.engine, &self.plan);
                let status = HttpCheck { engine, plan, stage, deadline, kept }.run().await?;
                Ok(Passed::ok(format!("status {status}")))
            }
            CheckKind::Agent => self.ask_agent(deadline, stage).await,
            CheckKind::Lua => self.run_script(stage).await,
        }
    }

    async fn connect(&self, deadline: Instant, stage: &Cell<Stage>) -> Result<net::Stream, Failure> {
        let timeout = Duration::from_millis(self.plan.check.timeout_ms);
        let addresses = self.plan.place.addresses(&self.engine.resolver, timeout, stage).await?;
        Ok(self.plan.place.connect(&addresses, deadline, stage).await?.0)
    }

    async fn ask_agent(&self, deadline: Instant, stage: &Cell<Stage>) -> Result<Passed, Failure> {
        let mut stream = self.connect(deadline, stage).await?;
        stage.set(failure::AGENT);
        let mut line = Vec::with_capacity(128);
        while line.len() <= agent::MAX_LINE && !line.contains(&b'\n') {
            let read = stream.read_buf(&mut line).await;
            if read.map_err(|error| Failure::Agent(net::io_words(&error)))? == 0 {
                break;
            }
        }
        let reply = agent::parse(&line).map_err(|error| Failure::Agent(error.to_string()))?;
        Ok(Passed { ok: reply.is_ok(), why: format!("agent: {reply}"), agent: Some(reply) })
    }

    async fn run_script(&self, stage: &Cell<Stage>) -> Result<Passed, Failure> {
        stage.set(failure::SCRIPT);
        let script = self.engine.script.borrow().clone();
        match script {
            Some(script) => {
                script(&self.target).await.map_err(Failure::Script).map(|()| Passed::ok("script".into()))
            }
            None => Err(net::Failure::Here("Lua checks have nobody to run them".into()).into()),
        }
    }

    fn tell(&self, trouble: String) {
        *self.engine.trouble.borrow_mut() = Some(trouble);
    }

    /// Faults of this machine or of the check's settings go to the owner's log, and are not
    /// observations of the member.
    fn report(&self, started: Instant, result: Result<Passed, Failure>) {
        let passed = match result {
            Ok(passed) => passed,
            Err(Failure::Net(net::Failure::Here(trouble))) => return self.tell(trouble),
            Err(Failure::Net(net::Failure::Settings(why))) => {
                let (member, pool) = (&self.target.member.spec.name, &self.target.pool);
                return self.tell(format!("member {member} of pool {pool} cannot be checked: {why}"));
            }
            Err(failure) => Passed { ok: false, why: failure.to_string(), agent: None },
        };
        let millis = started.elapsed().as_secs_f64() * 1000.0;
        let Passed { ok, why, agent } = passed;
        let next = self.schedule.due().saturating_duration_since(Instant::now());
        let observation = Observation { key: self.target.key, ok, why, millis, next, agent };
        let _ = self.engine.reports.send((self.id, observation));
    }
}

/// None: the work panicked.
async fn caught<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Some),
        Err(_) => std::task::Poll::Ready(None),
    })
    .await
}
