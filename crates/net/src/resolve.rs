// SPDX-License-Identifier: Apache-2.0
//! Host names. The system's resolver blocks, so it runs on a few threads; one that hangs may keep
//! those, but never another name that was found before, and never the thread that asks.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use crate::failure::Failure;

/// How long found addresses are used without asking again.
const FRESH: Duration = Duration::from_secs(5);
/// Threads for names whose last lookup found something, and as many for all other names.
const THREADS_A_LANE: usize = 8;
/// All threads that lookups may use.
pub const THREADS: usize = 2 * THREADS_A_LANE;

/// Finds the addresses of a host; blocks. The ports in the answer have no meaning.
pub type Lookup = Arc<dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// The system's resolver.
pub fn system() -> Lookup {
    Arc::new(|host| (host, 0).to_socket_addrs().map(Iterator::collect))
}

type Answer = Result<Rc<[SocketAddr]>, Rc<io::Error>>;

/// Looks names up, one lookup at a time per name, shared by all who ask for that name.
pub struct Resolver {
    lookup: Lookup,
    names: RefCell<HashMap<String, Rc<Name>>>,
    proven: Arc<Semaphore>,
    unproven: Arc<Semaphore>,
}

#[derive(Default)]
struct Name {
    state: RefCell<State>,
    done: Notify,
}

#[derive(Default)]
struct State {
    running: bool,
    last: Option<(Instant, Answer)>,
    found: Option<Rc<[SocketAddr]>>,
}

impl Resolver {
    /// Without names.
    pub fn new(lookup: Lookup) -> Self {
        let lane = || Arc::new(Semaphore::new(THREADS_A_LANE));
        Resolver { lookup, names: RefCell::default(), proven: lane(), unproven: lane() }
    }

    /// Addresses of `host`. When a name that was found before takes longer than `patience`, its old
    /// addresses are used, as traffic does.
    ///
    /// # Errors
    /// The resolver's.
    pub async fn resolve(&self, host: &str, patience: Duration) -> Result<Rc<[SocketAddr]>, Failure> {
        let name = self.names.borrow_mut().entry(host.to_owned()).or_default().clone();
        if let Some(fresh) = name.fresh() {
            return Ok(fresh);
        }
        let old = name.state.borrow().found.clone();
        let done = name.done.notified();
        self.start(host, &name);
        match old {
            Some(old) => {
                if tokio::time::timeout(patience, done).await.is_err() {
                    return Ok(old);
                }
            }
            None => done.await,
        }
        match name.state.borrow().last.as_ref() {
            Some((_, Ok(addresses))) => Ok(addresses.clone()),
            Some((_, Err(error))) => Err(Failure::lookup(host, error)),
            None => Err(Failure::lookup(host, &io::Error::other("the lookup ended without an answer"))),
        }
    }

    /// Forgets names that no lookup runs for, when there are more than this.
    pub fn keep_at_most(&self, names: usize) {
        let mut all = self.names.borrow_mut();
        if all.len() > names {
            all.retain(|_, name| name.state.borrow().running);
        }
    }

    /// Forgets all other names.
    pub fn keep_only(&self, hosts: &HashSet<&str>) {
        self.names.borrow_mut().retain(|host, _| hosts.contains(host.as_str()));
    }

    fn start(&self, host: &str, name: &Rc<Name>) {
        if std::mem::replace(&mut name.state.borrow_mut().running, true) {
            return;
        }
        let lane = if name.state.borrow().found.is_some() { &self.proven } else { &self.unproven };
        let (lane, lookup, host, name) = (lane.clone(), self.lookup.clone(), host.to_owned(), name.clone());
        tokio::task::spawn_local(async move {
            let answer = match lane.acquire_owned().await {
                Ok(permit) => {
                    // The permit goes along: a lookup cannot be cancelled, so its thread counts
                    // until it ends.
                    let thread = tokio::task::spawn_blocking(move || {
                        let answer = lookup(&host);
                        drop(permit);
                        answer
                    });
                    thread.await.unwrap_or_else(|error| Err(io::Error::other(error)))
                }
                Err(error) => Err(io::Error::other(error)),
            };
            name.finish(answer);
        });
    }
}

impl Name {
    fn fresh(&self) -> Option<Rc<[SocketAddr]>> {
        match &self.state.borrow().last {
            Some((at, Ok(addresses))) if at.elapsed() < FRESH => Some(addresses.clone()),
            _ => None,
        }
    }

    fn finish(&self, answer: io::Result<Vec<SocketAddr>>) {
        let answer: Answer = match answer {
            Ok(found) if found.is_empty() => Err(Rc::new(io::Error::other("no address found"))),
            Ok(found) => Ok(found.into()),
            Err(error) => Err(Rc::new(error)),
        };
        let mut state = self.state.borrow_mut();
        state.running = false;
        state.found = answer.as_ref().ok().cloned();
        state.last = Some((Instant::now(), answer));
        drop(state);
        self.done.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{Receiver, Sender, channel};

    use tokio::task::LocalSet;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(50);

    /// Names with `hung` in them hang until the sender is dropped; the number of lookups at work at
    /// most is counted.
    fn lookup(most: Arc<AtomicUsize>) -> (Lookup, Sender<()>) {
        let (release, released): (Sender<()>, Receiver<()>) = channel();
        let (released, now) = (Mutex::new(released), AtomicUsize::new(0));
        let lookup = move |host: &str| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            if host.contains("hung") {
                let _ = released.lock().map(|released| released.recv());
            }
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(vec![SocketAddr::from(([127, 0, 0, 1], 0))])
        };
        (Arc::new(lookup), release)
    }

    fn run(resolver: Rc<Resolver>, test: impl AsyncFnOnce(Rc<Resolver>)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .max_blocking_threads(THREADS)
            .build()
            .unwrap();
        LocalSet::new().block_on(&runtime, test(resolver));
        runtime.shutdown_background();
    }

    #[test]
    fn hung_lookups_leave_room_for_names_that_were_found_before() {
        let most = Arc::new(AtomicUsize::new(0));
        let (lookup, release) = lookup(most.clone());
        run(Rc::new(Resolver::new(lookup)), async |resolver| {
            resolver.resolve("good", LONG).await.unwrap();
            for number in 0..50 {
                let (resolver, host) = (resolver.clone(), format!("hung{number}"));
                let asked = tokio::time::timeout(SHORT / 50, resolver.resolve(&host, LONG)).await;
                assert!(asked.is_err());
            }
            // Old enough to be asked for again.
            let name = resolver.names.borrow()["good"].clone();
            let lookups = {
                let mut state = name.state.borrow_mut();
                state.last = None;
                state.found.is_some()
            };
            assert!(lookups);
            tokio::time::timeout(LONG, resolver.resolve("good", LONG)).await.unwrap().unwrap();
            assert!(name.state.borrow().last.is_some(), "it was looked up anew");
        });
        assert!(most.load(Ordering::SeqCst) <= THREADS);
        drop(release);
    }

    #[test]
    fn a_name_is_looked_up_once_for_all_that_wait_and_kept_for_a_while() {
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = calls.clone();
        let lookup = move |_: &str| {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok(vec![SocketAddr::from(([127, 0, 0, 1], 0))])
        };
        run(Rc::new(Resolver::new(Arc::new(lookup))), async |resolver| {
            let tasks: Vec<_> = (0..20)
                .map(|_| {
                    let resolver = resolver.clone();
                    tokio::task::spawn_local(async move { resolver.resolve("one", LONG).await.is_ok() })
                })
                .collect();
            for task in tasks {
                assert!(task.await.unwrap());
            }
            assert!(resolver.resolve("one", LONG).await.is_ok());
        });
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn old_addresses_serve_while_a_lookup_hangs() {
        let (lookup, release) = lookup(Arc::default());
        run(Rc::new(Resolver::new(lookup)), async |resolver| {
            let old: Rc<[SocketAddr]> = Rc::from([SocketAddr::from(([127, 0, 0, 9], 0))]);
            let name = resolver.names.borrow_mut().entry("hung".into()).or_default().clone();
            name.state.borrow_mut().found = Some(old.clone());
            assert_eq!(resolver.resolve("hung", SHORT).await.unwrap(), old);
        });
        drop(release);
    }

    #[test]
    fn failures_and_empty_answers_are_told_and_not_kept() {
        let lookup =
            |host: &str| if host == "empty" { Ok(Vec::new()) } else { Err(io::Error::other("unknown")) };
        run(Rc::new(Resolver::new(Arc::new(lookup))), async |resolver| {
            for (host, why) in [("empty", "no address found"), ("bad", "unknown")] {
                let error = resolver.resolve(host, LONG).await.unwrap_err();
                assert_eq!(error.to_string(), format!("host name {host}: {why}"));
            }
            resolver.keep_only(&HashSet::from(["bad"]));
            assert_eq!(resolver.names.borrow().len(), 1);
        });
    }
}
