// SPDX-License-Identifier: Apache-2.0
//! The thread of the sources that are asked, all side by side. A failure is followed by a pause
//! that grows.

use std::collections::hash_map::RandomState;
use std::future::{Future, poll_fn};
use std::hash::{BuildHasher as _, Hasher as _};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use balance::rng::Rng;
use tokio::runtime::Builder;
use tokio::task::LocalSet;

use crate::bell::Wishes;
use crate::source::{Look, MakeSource, Sighting};
use crate::{Bell, Listed};

/// Pauses after failures, doubling from the first to the second.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];
/// The least time from one list that is wrong to the next, however often a watched source changes.
const FLOOR: Duration = Duration::from_millis(100);
/// Threads that look names up.
const THREADS: usize = 4;
/// An error of this machine's: no source is to blame.
const NO_RUNTIME: &str = "it cannot be asked";

/// Tells what each look has found, until the bell says that it is over.
pub(crate) fn run(sources: Vec<(usize, MakeSource)>, bell: &Bell, tell: &dyn Fn(Sighting)) {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(THREADS)
        .thread_name("lua-balancer-dns")
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            for (source, _) in sources {
                tell(Sighting { source, found: Err(format!("{NO_RUNTIME}: {error}")), is_new: false });
            }
            return;
        }
    };
    let (send, mut told) = tokio::sync::mpsc::unbounded_channel();
    let local = LocalSet::new();
    for (at, make) in sources {
        let (send, wishes) = (send.clone(), bell.wishes());
        let asking = local.spawn_local(ask(at, make, wishes, send.clone()));
        local.spawn_local(async move {
            // Alone among the others, it would be silent for ever.
            if asking.await.is_err_and(|error| error.is_panic()) {
                let why = "looking at it has panicked: see the error log".to_owned();
                let _ = send.send(Sighting { source: at, found: Err(why), is_new: false });
            }
        });
    }
    let mut wishes = bell.wishes();
    runtime.block_on(local.run_until(async {
        let end = async {
            wishes.end().await;
            None
        };
        let mut end = pin!(end);
        while let Some(sighting) = first(end.as_mut(), told.recv()).await {
            tell(sighting);
        }
    }));
    // Connections close before the runtime that they are registered with; lookups may hang.
    drop(local);
    runtime.shutdown_background();
}

type Teller = tokio::sync::mpsc::UnboundedSender<Sighting>;

async fn ask(at: usize, make: MakeSource, mut wishes: Wishes, send: Teller) {
    let mut source = make();
    let mut backoff = Backoff::new(RandomState::new().build_hasher().finish());
    let mut last: Option<Arc<Listed>> = None;
    let mut is_second = false;
    loop {
        let look = async { Some(source.look().await) };
        let refreshed = async {
            // However often somebody wants it, the second look comes to its end.
            if is_second {
                return std::future::pending().await;
            }
            wishes.refresh().await;
            None
        };
        let Some(look) = first(look, refreshed).await else {
            is_second = true;
            continue;
        };
        is_second = false;
        let is_new = matches!(&look, Look::List(list, _) if last.as_ref() != Some(list));
        let pause = match &look {
            Look::List(list, pause) => {
                last = Some(list.clone());
                backoff.ends();
                *pause
            }
            Look::Unmended(_) => FLOOR,
            Look::Failed(_) => backoff.next(),
        };
        let found = look.found();
        if send.send(Sighting { source: at, found, is_new }).is_err() {
            return;
        }
        first(tokio::time::sleep(pause), wishes.refresh()).await;
    }
}

/// The result of the one that ends first, or of `one`.
async fn first<T>(one: impl Future<Output = T>, other: impl Future<Output = T>) -> T {
    let (mut one, mut other) = (pin!(one), pin!(other));
    poll_fn(|cx| match one.as_mut().poll(cx) {
        Poll::Pending => other.as_mut().poll(cx),
        ready => ready,
    })
    .await
}

/// The pauses of one source that fails.
struct Backoff {
    failures: u32,
    rng: Rng,
}

impl Backoff {
    fn new(seed: u64) -> Self {
        Backoff { failures: 0, rng: Rng::new(seed) }
    }

    fn ends(&mut self) {
        self.failures = 0;
    }

    /// The next pause: between three quarters and the whole of a time that doubles.
    fn next(&mut self) -> Duration {
        let whole = PAUSES[0].saturating_mul(1 << self.failures.min(16)).min(PAUSES[1]);
        self.failures = self.failures.saturating_add(1);
        let us = whole.as_micros() as u64;
        Duration::from_micros(us - self.rng.below(us / 4))
    }
}

#[cfg(test)]
mod tests;
