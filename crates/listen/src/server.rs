// SPDX-License-Identifier: Apache-2.0
//! The server: doors that are open until it is told to end.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::Entrance;
use crate::door::OpenDoor;
use crate::ender::{Ender, Step};
use crate::guests::Guests;
use crate::race::first;

/// Answers that are made aside at the same time.
const ASIDE: usize = 4;
/// How long a client of a kept connection has to send what it was about to send when the server was
/// told to end.
const LINGER: Duration = Duration::from_millis(100);
/// How long all that has begun may take in the end.
const PATIENCE: Duration = Duration::from_secs(1);

/// A server, which serves on the thread that has made it.
pub struct DoorKeeper {
    local: LocalSet,
    runtime: Runtime,
    doors: Vec<OpenDoor>,
    ender: Ender,
}

impl DoorKeeper {
    /// With these doors, until `ender` is told otherwise, which may have been told already.
    ///
    /// # Errors
    /// The system has no descriptors left, or cannot wait for a socket.
    pub fn new(doors: Vec<Entrance>, ender: Ender) -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(ASIDE)
            .thread_name("lua-balancer-ch")
            .build()?;
        let entered = runtime.enter();
        let doors = doors.into_iter().map(|door| OpenDoor::new(door, ender.clone()));
        let doors = doors.collect::<io::Result<Vec<_>>>()?;
        drop(entered);
        Ok(DoorKeeper { local: LocalSet::new(), runtime, doors, ender })
    }

    /// Serves until it is told to end. `closed` is called when no connection is taken any more, and
    /// those that came before have had a moment for a request and its answer.
    pub fn run(self, closed: impl FnOnce()) {
        let DoorKeeper { local, runtime, doors, ender } = self;
        if ender.is_closed() {
            drop(doors);
            closed();
            return;
        }
        let guests: Vec<Rc<Guests>> = doors.iter().map(|door| door.guests.clone()).collect();
        runtime.block_on(local.run_until(async {
            let open: Vec<_> = doors.into_iter().map(|door| tokio::task::spawn_local(door.run())).collect();
            ender.wait_for(Step::Closed).await;
            for door in open {
                door.abort();
                // Its connections are dropped, its socket closed, when this returns.
                drop(door.await);
            }
            first(ender.wait_for(Step::Ends), first(all_gone(&guests), tokio::time::sleep(LINGER))).await;
            closed();
            first(ender.wait_for(Step::Ends), all_gone(&guests)).await;
            finish(&guests).await;
        }));
        // Connections close before the runtime that they are registered with.
        drop(local);
        runtime.shutdown_background();
    }
}

async fn all_gone(guests: &[Rc<Guests>]) {
    for guests in guests {
        while guests.count() > 0 {
            guests.freed.notified().await;
        }
    }
}

/// Lets end what has begun, for a bounded time.
async fn finish(guests: &[Rc<Guests>]) {
    let began = Instant::now();
    first(all_gone(guests), tokio::time::sleep(LINGER)).await;
    guests.iter().for_each(|guests| guests.finish());
    first(all_gone(guests), tokio::time::sleep_until(began + PATIENCE)).await;
}
