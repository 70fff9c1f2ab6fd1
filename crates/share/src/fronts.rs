// SPDX-License-Identifier: Apache-2.0
//! The servers that are alive: each has a key of its own, `PREFIX/fronts/ID`, under a lease that it
//! renews. A server that ends in any way is gone once its lease is.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use etcd::{Copied, EtcdClient, EtcdError, KeyCopy, Operation, RangeQuery, Transaction, Watch, WatchAnswer};
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use crate::opinions::{self, AllOpinions, OwnKeys, OwnOpinions, PACE};
use crate::place::StorePlace;

/// Seconds that a lease lives on without being renewed.
pub const LEASE_S: u32 = 10;
/// From one attempt to reach the store to the next.
const AGAIN: Duration = Duration::from_millis(500);
/// Most servers, and most bytes of their keys.
const LIMITS: (usize, usize) = (10_000, 4 << 20);
/// For how long changes of opinions are joined.
const JOIN: Duration = Duration::from_millis(50);
/// Most opinions, and most bytes of them.
const MOST_OPINIONS: (usize, usize) = (200_000, 32 << 20);
/// How long opinions that cannot be heard are left alone.
const LISTEN_AGAIN: Duration = Duration::from_secs(30);
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
    /// The opinions of all about members.
    Opinions(Arc<AllOpinions>),
    /// Opinions of others are not heard any more, for this reason.
    Deaf(String),
    /// The store does not answer.
    Away(String),
}

/// Keeps a [`FrontKeeper`] going, as long as it is not dropped.
pub struct FrontHold(UnboundedSender<OwnOpinions>);

impl FrontHold {
    /// Says what this server says of members now: all of it.
    pub fn say(&self, opinions: OwnOpinions) {
        let _ = self.0.send(opinions);
    }
}

/// The body of a thread that keeps a server among the others.
pub struct FrontKeeper {
    place: StorePlace,
    own: FrontSelf,
    /// Whether opinions about members are heard.
    hears: bool,
    /// Why opinions that are to be heard are not.
    deaf: Option<String>,
    keys: OwnKeys,
    held: UnboundedReceiver<OwnOpinions>,
}

/// The keys of one kind, and the watch that keeps them.
type Kept = (KeyCopy, Watch);

/// The first of four things.
enum Heard {
    Watched(Result<WatchAnswer, EtcdError>),
    Opinions(Result<WatchAnswer, EtcdError>),
    Said(Option<OwnOpinions>),
    Due,
}

impl FrontKeeper {
    /// A keeper, and the value that it ends with. `hears`: whether it tells of opinions.
    pub fn new(place: StorePlace, own: FrontSelf, hears: bool) -> (Self, FrontHold) {
        let (hold, held) = unbounded_channel();
        let keys = OwnKeys::default();
        (FrontKeeper { place, own, hears, deaf: None, keys, held }, FrontHold(hold))
    }

    /// Tells all news, until it is let go of.
    pub fn run(mut self, tell: &dyn Fn(FrontNews)) {
        let runtime = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return tell(FrontNews::Away(error.to_string())),
        };
        runtime.block_on(async {
            let mut client = EtcdClient::new(self.place.etcd.clone());
            while !self.session(&mut client, tell).await && !self.pause().await {}
        });
        runtime.shutdown_background();
    }

    /// Waits a moment. True when it was let go of.
    async fn pause(&mut self) -> bool {
        let until = Instant::now() + AGAIN;
        loop {
            match tokio::time::timeout_at(until, self.held.recv()).await {
                Ok(Some(opinions)) => self.keys.want(&self.own.id, &opinions),
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    /// One while with the store. True when it was let go of.
    async fn session(&mut self, client: &mut EtcdClient, tell: &dyn Fn(FrontNews)) -> bool {
        let ((mut fronts, mut watch), mut health) = match self.begin(client, tell).await {
            Ok(begun) => begun,
            Err(why) => {
                tell(FrontNews::Away(why));
                return false;
            }
        };
        if !self.is_told(&fronts, tell) {
            return false;
        }
        let mut due = Instant::now() + PACE;
        let again = self.deaf.is_some().then(|| Instant::now() + LISTEN_AGAIN);
        let mut changed = health.is_some().then(Instant::now);
        loop {
            if let (Some(at), Some((keys, _))) = (changed, &health)
                && at.elapsed() >= JOIN
            {
                changed = None;
                tell(FrontNews::Opinions(Arc::new(opinions::all(keys))));
                // Somebody may have written in place of this server.
                if self.keys.are_there((&self.own.id, self.own.lease), keys)
                    && self.keys.write(client, &self.place.health, self.own.lease).await.is_err()
                {
                    return false;
                }
            }
            let next = changed.map_or(due, |at| due.min(at + JOIN));
            let opinions = async {
                match &mut health {
                    Some((_, watch)) => watch.next().await,
                    None => std::future::pending().await,
                }
            };
            match first(watch.next(), opinions, self.held.recv(), tokio::time::sleep_until(next)).await {
                Heard::Said(None) => return true,
                Heard::Said(Some(own)) => {
                    self.keys.want(&self.own.id, &own);
                    if self.keys.write(client, &self.place.health, self.own.lease).await.is_err() {
                        return false;
                    }
                }
                Heard::Watched(Ok(answer)) => match fronts.take(answer) {
                    Copied::Same => {}
                    Copied::Changed if self.is_told(&fronts, tell) => {}
                    _ => return false,
                },
                Heard::Opinions(Ok(answer)) => match health.as_mut().map(|(keys, _)| keys.take(answer)) {
                    Some(Copied::Changed) => changed = changed.or_else(|| Some(Instant::now())),
                    Some(Copied::Again(_)) => return false,
                    Some(Copied::Same) | None => {}
                },
                Heard::Watched(Err(_)) | Heard::Opinions(Err(_)) => return false,
                Heard::Due if Instant::now() < due => {}
                Heard::Due if again.is_some_and(|again| again <= Instant::now()) => return false,
                Heard::Due => match client.keep_alive(self.own.lease).await {
                    Ok(renewed) if renewed.ttl > 0 => due = Instant::now() + PACE,
                    // It has ended, or the endpoint does not answer: others may.
                    Ok(_) | Err(_) => return false,
                },
            }
        }
    }

    /// Tells who is alive. False: this server is not, somebody has taken its key away or written in
    /// its place.
    fn is_told(&self, fronts: &KeyCopy, tell: &dyn Fn(FrontNews)) -> bool {
        let alive = alive(fronts);
        let is_there = fronts.lease_of(self.own.id.as_bytes()) == self.own.lease;
        if is_there {
            tell(FrontNews::Alive(alive));
        }
        is_there
    }

    /// The lease, the own keys, all others and watches from there on, at the first endpoint that
    /// gives them.
    async fn begin(
        &mut self,
        client: &mut EtcdClient,
        tell: &dyn Fn(FrontNews),
    ) -> Result<(Kept, Option<Kept>), String> {
        let mut failed = None;
        for _ in 0..client.endpoints() {
            match self.begin_here(client, tell).await {
                Ok((fronts, health)) => return Ok((fronts?, health)),
                Err(error) => failed = failed.or(Some(error.to_string())),
            }
        }
        Err(failed.unwrap_or_default())
    }

    async fn begin_here(
        &mut self,
        client: &mut EtcdClient,
        tell: &dyn Fn(FrontNews),
    ) -> Result<(Result<Kept, String>, Option<Kept>), EtcdError> {
        let lease = lease(client, self.own.lease).await?;
        let is_kept = lease == self.own.lease;
        if !is_kept {
            self.own.lease = lease;
            self.keys.are_gone();
            tell(FrontNews::Lease(lease));
        }
        let place = self.place.clone();
        let (key, value) = (format!("{}{}", place.fronts, self.own.id), self.own.value());
        let known = client.range(&RangeQuery::One(&key)).await?;
        let is_there = known.kvs.iter().any(|known| known.lease == lease && known.value == value);
        let put = Operation::Put { key, value, lease };
        if !is_there {
            client.transact(&Transaction { then: vec![put], ..Transaction::default() }).await?;
        }
        let fronts = kept(client, &place.fronts, LIMITS).await?;
        if !self.hears && !is_kept {
            return Ok((fronts, None));
        }
        let keys = KeyCopy::fetch(client, &place.health, MOST_OPINIONS).await;
        if let Ok(keys) = &keys {
            self.keys.are_there((&self.own.id, lease), keys);
        }
        if !self.hears {
            // It did so before a restart.
            self.keys.want(&self.own.id, &OwnOpinions::new());
        }
        self.keys.write(client, &place.health, lease).await?;
        if !self.hears {
            return Ok((fronts, None));
        }
        match keys {
            Ok(keys) => {
                let watch = client.watch(&place.health, keys.revision() + 1).await?;
                self.deaf = None;
                Ok((fronts, Some((keys, watch))))
            }
            Err(why) => {
                // A store that does not answer at all is away.
                client.keep_alive(lease).await?;
                if self.deaf.is_none() {
                    tell(FrontNews::Deaf(why.clone()));
                }
                self.deaf = Some(why);
                Ok((fronts, None))
            }
        }
    }
}

/// The keys of now and a watch from there on. Err within: they are too many.
async fn kept(
    client: &mut EtcdClient,
    prefix: &str,
    limits: (usize, usize),
) -> Result<Result<Kept, String>, EtcdError> {
    let range = client.range(&RangeQuery::Below(prefix, limits.0 + 1)).await?;
    let watch = client.watch(prefix, range.header.revision + 1).await?;
    Ok(KeyCopy::of(prefix, range, limits).map(|keys| (keys, watch)))
}

/// The lease, renewed; another one where it has ended.
async fn lease(client: &mut EtcdClient, known: i64) -> Result<i64, EtcdError> {
    if known != 0 && client.keep_alive(known).await?.ttl > 0 {
        return Ok(known);
    }
    Ok(client.grant(LEASE_S).await?.id)
}

/// The servers with a lease: a key without one was written by somebody else.
fn alive(keys: &KeyCopy) -> Vec<String> {
    let leased = keys.iter().map(|(name, _, _)| name).filter(|name| keys.lease_of(name) != 0);
    leased.filter_map(|name| opinions::front(name).map(str::to_owned)).collect()
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
    opinions: impl Future<Output = Result<WatchAnswer, EtcdError>>,
    said: impl Future<Output = Option<OwnOpinions>>,
    due: impl Future<Output = ()>,
) -> Heard {
    let (mut watched, mut opinions) = (pin!(watched), pin!(opinions));
    let (mut said, mut due) = (pin!(said), pin!(due));
    poll_fn(|cx| {
        if let Poll::Ready(own) = said.as_mut().poll(cx) {
            return Poll::Ready(Heard::Said(own));
        }
        // However much the others say, the lease is renewed.
        if due.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Heard::Due);
        }
        if let Poll::Ready(answer) = watched.as_mut().poll(cx) {
            return Poll::Ready(Heard::Watched(answer));
        }
        if let Poll::Ready(answer) = opinions.as_mut().poll(cx) {
            return Poll::Ready(Heard::Opinions(answer));
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[test]
    fn a_lease_is_renewed_however_much_others_say() {
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        let said = || ready(Ok(WatchAnswer::default()));
        let heard = runtime.block_on(first(said(), said(), pending(), ready(())));
        assert!(matches!(heard, Heard::Due));
    }
}
