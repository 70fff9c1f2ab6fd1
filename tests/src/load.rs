// SPDX-License-Identifier: Apache-2.0
//! Load that runs beside a test until it is told to stop.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::client::Client;
use crate::wait::wait_until;

/// The counts of the load.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Responses by status.
    pub statuses: BTreeMap<u16, usize>,
    /// Responses by backend.
    pub backends: BTreeMap<String, usize>,
    /// Requests without a response, each with its reason.
    pub errors: Vec<String>,
}

impl Tally {
    /// Responses of any status.
    pub fn responses(&self) -> usize {
        self.statuses.values().sum()
    }

    /// Panics unless every request was answered with 200.
    pub fn assert_all_ok(&self) {
        let only_ok = self.statuses.keys().all(|status| *status == 200);
        assert!(only_ok && self.errors.is_empty(), "some requests failed: {self:?}");
        assert!(self.responses() > 0, "no request was sent");
    }
}

/// Threads that send GET requests one after the other, each over a kept-alive connection.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    tally: Arc<Mutex<Tally>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts `clients` threads that ask for `target`.
    pub fn start(port: u16, target: &str, clients: usize) -> Self {
        let mut load =
            Self { stop: Arc::default(), done: Arc::default(), tally: Arc::default(), threads: Vec::new() };
        for _ in 0..clients {
            let (stop, done, tally) = (load.stop.clone(), load.done.clone(), load.tally.clone());
            let target = target.to_owned();
            load.threads.push(thread::spawn(move || send_until(port, &target, &stop, &done, &tally)));
        }
        load
    }

    /// Requests finished so far, failed ones included.
    pub fn finished(&self) -> usize {
        self.done.load(Ordering::SeqCst)
    }

    /// Waits until `n` more requests have finished.
    pub fn wait_for(&self, n: usize) {
        let goal = self.finished() + n;
        wait_until(&format!("{n} more requests"), Duration::from_secs(60), || self.finished() >= goal);
    }

    /// The counts so far.
    pub fn tally(&self) -> Tally {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops and returns what was seen.
    pub fn stop(mut self) -> Tally {
        self.end();
        self.tally()
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

fn send_until(port: u16, target: &str, stop: &AtomicBool, done: &AtomicUsize, tally: &Mutex<Tally>) {
    let mut client = Client::new(port);
    while !stop.load(Ordering::SeqCst) {
        let outcome = client.try_get(target);
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(response) => {
                *tally.statuses.entry(response.status).or_insert(0) += 1;
                *tally.backends.entry(response.backend().to_owned()).or_insert(0) += 1;
            }
            Err(error) => tally.errors.push(error.to_string()),
        }
        drop(tally);
        done.fetch_add(1, Ordering::SeqCst);
    }
}
