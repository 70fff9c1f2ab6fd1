//! The prober: a runtime that runs only inside `turn`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use balance::settings::CheckKind;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::check::{Checker, Roots};
use crate::schedule::{self, Report};
use crate::target::{Observation, Target};
use crate::waker::{self, Waker, Woken};

/// Threads that may look names up at the same time.
const RESOLVERS: usize = 32;

/// Checks members. Dropping it ends all checks without waiting.
pub struct Prober {
    /// None only while it is being dropped.
    runtime: Option<Runtime>,
    waker: Waker,
    woken: Woken,
    reports: UnboundedReceiver<Report>,
    sender: UnboundedSender<Report>,
    running: HashMap<u64, Running>,
    roots: Arc<Roots>,
    serial: u64,
}

struct Running {
    target: Target,
    serial: u64,
    task: JoinHandle<()>,
}

impl Prober {
    /// A prober without targets.
    pub fn new() -> io::Result<Prober> {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(RESOLVERS)
            .thread_keep_alive(Duration::from_secs(30))
            .build()?;
        let (waker, woken) = {
            let _inside = runtime.enter();
            waker::pair()?
        };
        let (sender, reports) = unbounded_channel();
        Ok(Prober {
            runtime: Some(runtime),
            waker,
            woken,
            reports,
            sender,
            running: HashMap::new(),
            roots: Arc::new(Roots::default()),
            serial: 0,
        })
    }

    /// Something that ends a turn.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Makes these the targets. Checks of those that stay go on undisturbed, new ones are checked at once (in the next
    /// turn), gone ones end. Lua checks are not run here and are left out; of targets with the same key the first counts.
    pub fn set_targets(&mut self, targets: Vec<Target>) {
        let mut old = std::mem::take(&mut self.running);
        for target in targets {
            if target.check.kind == CheckKind::Lua {
                continue;
            }
            let Entry::Vacant(place) = self.running.entry(target.key) else { continue };
            match old.remove(&target.key) {
                Some(stays) if stays.target.same_check(&target) && !stays.task.is_finished() => {
                    place.insert(Running { target, ..stays });
                }
                other => {
                    if let Some(gone) = other {
                        gone.task.abort();
                    }
                    let Some(runtime) = &self.runtime else { continue };
                    self.serial += 1;
                    let serial = self.serial;
                    let checker = Checker::new(&target, self.roots.clone());
                    let task = runtime.spawn(schedule::run(checker, target.key, serial, self.sender.clone()));
                    place.insert(Running { target, serial, task });
                }
            }
        }
        for gone in old.into_values() {
            gone.task.abort();
        }
    }

    /// Ends all checks.
    pub fn clear(&mut self) {
        self.set_targets(Vec::new());
    }

    /// Runs checks for that long, or until a wake, and gives each result to `sink` as it comes.
    pub fn turn(&mut self, at_most: Duration, sink: &mut dyn FnMut(Observation)) {
        let Prober { runtime: Some(runtime), woken, reports, running, .. } = self else { return };
        let mut hand_on = |(serial, observation): Report| {
            if running.get(&observation.key).is_some_and(|now| now.serial == serial) {
                sink(observation);
            }
        };
        runtime.block_on(async {
            let now = Instant::now();
            let end = now.checked_add(at_most).unwrap_or(now + Duration::from_secs(86_400));
            let mut end = pin!(sleep_until(end));
            let mut wake = pin!(woken.wait());
            poll_fn(|context| {
                if wake.as_mut().poll(context).is_ready() || end.as_mut().poll(context).is_ready() {
                    return Poll::Ready(());
                }
                while let Poll::Ready(Some(report)) = reports.poll_recv(context) {
                    hand_on(report);
                }
                Poll::Pending
            })
            .await;
        });
        while let Ok(report) = reports.try_recv() {
            hand_on(report);
        }
    }
}

impl fmt::Debug for Prober {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prober").field("targets", &self.running.len()).finish_non_exhaustive()
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        for gone in self.running.values() {
            gone.task.abort();
        }
        // A name that is being looked up would hold the end up.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
