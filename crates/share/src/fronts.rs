// SPDX-License-Identifier: Apache-2.0
//! The servers that are alive: each has a key of its own, `PREFIX/fronts/ID`, under a lease that it
//! renews. A server that ends in any way is gone once its lease is.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use etcd::{Copied, EtcdClient, EtcdError, KeyCopy, Operation, RangeQuery, Transaction, Watch, WatchAnswer};
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use crate::place::StorePlace;

/// Seconds that a lease lives on without being renewed.
pub const LEASE_S: u32 = 10;
/// How often it is renewed.
const PACE: Duration = Duration::from_secs(2);
/// From one attempt to reach the store to the next.
const AGAIN: Duration = Duration::from_millis(500);
/// Most servers, and most bytes of their keys.
const LIMITS: (usize, usize) = (10_000, 4 << 20);
/// For leaving at the end.
const GOODBYE: Duration = Duration::from_millis(500);

/// A server among those that share something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrontSelf {
    /// Its name among them, for as long as it runs.
    pub id: String,
    /// The lease that it has already; 0: none.
    pub lease: i64,
    /// The name of its machine.
    pub host: String,
    /// When it has started: epoch seconds.
    pub since_s: u64,
    /// The version of the module.
    pub version: &'static str,
}

impl FrontSelf {
    /// The value of its key.
    fn value(&self) -> Vec<u8> {
        let value = serde_json::json!({ "host": self.host, "since": self.since_s, "version": self.version });
        value.to_string().into_bytes()
    }
}

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrontNews {
    /// The lease is this one from now on.
    Lease(i64),
    /// The servers that are alive, this one among them, by their names in order.
    Alive(Vec<String>),
    /// The store does not answer.
    Away(String),
}

/// Keeps a [`FrontKeeper`] going, as long as it is not dropped.
pub struct FrontHold(#[allow(dead_code)] UnboundedSender<()>);

/// The body of a thread that keeps a server among the others.
pub struct FrontKeeper {
    place: StorePlace,
    own: FrontSelf,
    held: UnboundedReceiver<()>,
}

/// The first of three things.
enum Heard {
    Watched(Result<WatchAnswer, EtcdError>),
    Dropped,
    Due,
}

impl FrontKeeper {
    /// A keeper, and the value that it ends with.
    pub fn new(place: StorePlace, own: FrontSelf) -> (Self, FrontHold) {
        let (hold, held) = unbounded_channel();
        (FrontKeeper { place, own, held }, FrontHold(hold))
    }

    /// Tells all news, until it is let go of.
    pub fn run(mut self, tell: &dyn Fn(FrontNews)) {
        let runtime = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return tell(FrontNews::Away(error.to_string())),
        };
        runtime.block_on(async {
            let mut client = EtcdClient::new(self.place.etcd.clone());
            loop {
                if self.session(&mut client, tell).await {
                    return;
                }
                if tokio::time::timeout(AGAIN, self.held.recv()).await.is_ok() {
                    return;
                }
            }
        });
        runtime.shutdown_background();
    }

    /// One while with the store. True when it was let go of.
    async fn session(&mut self, client: &mut EtcdClient, tell: &dyn Fn(FrontNews)) -> bool {
        let (mut keys, mut watch) = match self.begin(client, tell).await {
            Ok(begun) => begun,
            Err(why) => {
                tell(FrontNews::Away(why));
                return false;
            }
        };
        let mut due = Instant::now() + PACE;
        loop {
            let alive = alive(&keys);
            if !alive.contains(&self.own.id) {
                // Somebody has taken it away.
                return false;
            }
            tell(FrontNews::Alive(alive));
            loop {
                match first(watch.next(), self.held.recv(), tokio::time::sleep_until(due)).await {
                    Heard::Dropped => return true,
                    Heard::Watched(Err(_)) => return false,
                    Heard::Watched(Ok(answer)) => match keys.take(answer) {
                        Copied::Same => {}
                        Copied::Changed => break,
                        Copied::Again(_) => return false,
                    },
                    Heard::Due => match client.keep_alive(self.own.lease).await {
                        Ok(renewed) if renewed.ttl > 0 => due = Instant::now() + PACE,
                        // It has ended, or the endpoint does not answer: others may.
                        Ok(_) | Err(_) => return false,
                    },
                }
            }
        }
    }

    /// The lease, the own key, all keys and a watch from there on, at the first endpoint that gives
    /// them.
    async fn begin(
        &mut self,
        client: &mut EtcdClient,
        tell: &dyn Fn(FrontNews),
    ) -> Result<(KeyCopy, Watch), String> {
        let mut failed = None;
        for _ in 0..client.endpoints() {
            let (place, own) = (self.place.clone(), self.own.clone());
            let begun = async {
                let lease = lease(client, own.lease).await?;
                if lease != own.lease {
                    tell(FrontNews::Lease(lease));
                }
                let key = format!("{}{}", place.fronts, own.id);
                let put = Operation::Put { key, value: own.value(), lease };
                client.transact(&Transaction { then: vec![put], ..Transaction::default() }).await?;
                let range = client.range(&RangeQuery::Below(&place.fronts, LIMITS.0 + 1)).await?;
                let revision = range.header.revision;
                let watch = client.watch(&place.fronts, revision + 1).await?;
                Ok::<_, EtcdError>((lease, range, watch))
            };
            match begun.await {
                Ok((lease, range, watch)) => {
                    self.own.lease = lease;
                    return Ok((KeyCopy::of(&self.place.fronts, range, LIMITS)?, watch));
                }
                Err(error) => failed = failed.or(Some(error.to_string())),
            }
        }
        Err(failed.unwrap_or_default())
    }
}

/// The lease, renewed; another one where it has ended.
async fn lease(client: &mut EtcdClient, known: i64) -> Result<i64, EtcdError> {
    if known != 0 && client.keep_alive(known).await?.ttl > 0 {
        return Ok(known);
    }
    Ok(client.grant(LEASE_S).await?.id)
}

fn alive(keys: &KeyCopy) -> Vec<String> {
    keys.iter().filter_map(|(name, _, _)| String::from_utf8(name.to_vec()).ok()).collect()
}

/// Ends a server's lease, so that the others need not wait for its end. Returns after half a second
/// at most, whether it could or not.
pub fn leave(place: &StorePlace, lease: i64) {
    let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
    runtime.block_on(async {
        let mut client = EtcdClient::new(place.etcd.clone());
        drop(tokio::time::timeout(GOODBYE, client.revoke(lease)).await);
    });
    runtime.shutdown_background();
}

async fn first(
    watched: impl Future<Output = Result<WatchAnswer, EtcdError>>,
    held: impl Future<Output = Option<()>>,
    due: impl Future<Output = ()>,
) -> Heard {
    let (mut watched, mut held, mut due) = (pin!(watched), pin!(held), pin!(due));
    poll_fn(|cx| {
        if held.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Heard::Dropped);
        }
        if let Poll::Ready(answer) = watched.as_mut().poll(cx) {
            return Poll::Ready(Heard::Watched(answer));
        }
        due.as_mut().poll(cx).map(|()| Heard::Due)
    })
    .await
}
