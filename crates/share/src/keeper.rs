// SPDX-License-Identifier: Apache-2.0
//! The copy of all orders of the store, kept as long as somebody listens. The store is asked every
//! two seconds; when it does not answer in time it is away, until it answers again.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use balance::order::{Order, StoreRevision};
use balance::sharing::StoredOrder;
use etcd::{
    Compare, Copied, EtcdClient, EtcdError, KeyCopy, Operation, RangeQuery, Transaction, Watch, WatchAnswer,
};
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use crate::place::StorePlace;
use crate::value;

/// How often the store is asked whether it is there.
const PACE: Duration = Duration::from_secs(2);
/// From one attempt to reach it to the next.
const AGAIN: Duration = Duration::from_millis(500);
/// For how long changes that follow each other are joined, at least and at most.
const JOIN: Duration = Duration::from_millis(20);
const JOIN_AT_MOST: Duration = Duration::from_millis(500);
/// Most orders, and most bytes of them.
const LIMITS: (usize, usize) = (100_000, 16 << 20);

/// The orders of a pool in the store, by member; Err: the value is not one.
pub type PoolOrders = BTreeMap<String, Result<StoredOrder, String>>;

/// The orders of the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredOrders {
    /// The revision that they are of.
    pub at: StoreRevision,
    /// By pool.
    pub pools: BTreeMap<String, PoolOrders>,
}

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// These are the orders now.
    Orders(Arc<StoredOrders>),
    /// The store has answered by this endpoint of the place.
    There(usize),
    /// It does not answer.
    Away(String),
}

/// An order for the store, see [`balance::sharing::Sharing::Offer`].
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct OrderOffer {
    pub pool: String,
    pub member: String,
    pub at: StoreRevision,
    pub order: Order,
}

/// The way to give a [`OrderKeeper`] offers; it takes them without waiting.
pub struct OfferSender(UnboundedSender<OrderOffer>);

impl OfferSender {
    /// Gives one; it is lost when the keeper has ended.
    pub fn send(&self, offer: OrderOffer) {
        let _ = self.0.send(offer);
    }
}

/// The body of a thread that keeps the copy.
pub struct OrderKeeper {
    place: StorePlace,
    offers: UnboundedReceiver<OrderOffer>,
    /// The last revision that the store is known to have had.
    known: StoreRevision,
}

/// How a while with the store has ended.
enum Ended {
    /// Nobody listens any more.
    Over,
    /// The copy has to be made again.
    Again,
    /// The store is away.
    Away(String),
}

/// The first of three things.
enum Heard {
    Watched(Result<WatchAnswer, EtcdError>),
    Offered(Option<OrderOffer>),
    Due,
}

impl OrderKeeper {
    /// A keeper, and the way to give it offers. It ends when that one is dropped. `known`: the last
    /// revision that the store is known to have had.
    pub fn new(place: StorePlace, known: StoreRevision) -> (Self, OfferSender) {
        let (send, offers) = unbounded_channel();
        (OrderKeeper { place, offers, known }, OfferSender(send))
    }

    /// Tells all news, until nobody gives offers any more.
    pub fn run(mut self, tell: &dyn Fn(News)) {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return tell(News::Away(error.to_string())),
        };
        runtime.block_on(async {
            let mut client = EtcdClient::new(self.place.etcd.clone());
            loop {
                match self.session(&mut client, tell).await {
                    Ended::Over => return,
                    Ended::Again => {}
                    Ended::Away(why) => tell(News::Away(why)),
                }
                if self.pause().await {
                    return;
                }
            }
        });
        runtime.shutdown_background();
    }

    /// Waits a moment; true when nobody listens any more. Offers of now are about old orders.
    async fn pause(&mut self) -> bool {
        let until = Instant::now() + AGAIN;
        loop {
            match tokio::time::timeout_at(until, self.offers.recv()).await {
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    async fn session(&mut self, client: &mut EtcdClient, tell: &dyn Fn(News)) -> Ended {
        let (mut keys, mut watch) = match self.begin(client).await {
            Ok(begun) => begun,
            Err(error) => return Ended::Away(error),
        };
        let mut join = self.tell_orders(&keys, tell);
        tell(News::There(client.at()));
        let mut due = Instant::now() + PACE;
        let mut changed: Option<Instant> = None;
        loop {
            if changed.is_some_and(|changed| changed.elapsed() >= join) {
                changed = None;
                join = self.tell_orders(&keys, tell);
            }
            let next = changed.map_or(due, |changed| due.min(changed + join));
            match first(watch.next(), self.offers.recv(), tokio::time::sleep_until(next)).await {
                Heard::Watched(Err(_)) => return Ended::Again,
                Heard::Watched(Ok(answer)) => {
                    match keys.take(answer) {
                        Copied::Same => {}
                        Copied::Changed => changed = changed.or_else(|| Some(Instant::now())),
                        Copied::Again(_) => return Ended::Again,
                    }
                    self.known.revision = self.known.revision.max(revision(keys.revision()));
                }
                Heard::Offered(None) => return Ended::Over,
                // Refused is what others have changed meanwhile: the watch brings it.
                Heard::Offered(Some(offer)) if offer.at.store != self.known.store => {}
                Heard::Offered(Some(offer)) if is_changed(&keys, &offer) => {}
                Heard::Offered(Some(offer)) => match client.transact(&self.transaction(&offer)).await {
                    Ok(_) | Err(EtcdError::Refused { .. }) => {}
                    Err(error) => return Ended::Away(error.to_string()),
                },
                Heard::Due if Instant::now() < due => {}
                Heard::Due => match client.range(&RangeQuery::One(&self.place.store)).await {
                    Ok(now) if now.header.cluster_id != keys.cluster() => return Ended::Again,
                    Ok(now) if self.place.identity(&now.kvs) != self.known.store => return Ended::Again,
                    Ok(now) if revision(now.header.revision) < self.known.revision => return Ended::Again,
                    Ok(now) => {
                        self.known.revision = revision(now.header.revision);
                        tell(News::There(client.at()));
                        due = Instant::now() + PACE;
                    }
                    Err(error) => return Ended::Away(error.to_string()),
                },
            }
        }
    }

    /// All keys of now and a watch from there on, at the first endpoint that gives them.
    async fn begin(&mut self, client: &mut EtcdClient) -> Result<(KeyCopy, Watch), String> {
        let (place, known) = (self.place.clone(), self.known);
        let prefix = &place.prefix;
        let mut failed = None;
        for _ in 0..client.endpoints() {
            let begun = async {
                let found = place.identify(client, known).await?;
                let keys = KeyCopy::fetch(client, prefix, LIMITS).await?;
                if revision(keys.revision()) < found.revision {
                    return Err("it has just been replaced".to_owned());
                }
                let watch = client.watch(prefix, keys.revision() + 1).await;
                let known = StoreRevision { store: found.store, revision: revision(keys.revision()) };
                Ok((keys, watch.map_err(|error| error.to_string())?, known))
            };
            match begun.await {
                Ok((keys, watch, known)) => {
                    self.known = known;
                    return Ok((keys, watch));
                }
                Err(why) => failed = failed.or(Some(why)),
            }
        }
        Err(failed.unwrap_or_default())
    }

    /// Returns for how long changes are to be joined now: where there are many orders, reading them
    /// takes a part of the time and not all of it.
    fn tell_orders(&self, keys: &KeyCopy, tell: &dyn Fn(News)) -> Duration {
        let begun = Instant::now();
        tell(News::Orders(self.orders(keys)));
        (begun.elapsed() * 4).clamp(JOIN, JOIN_AT_MOST)
    }

    fn orders(&self, keys: &KeyCopy) -> Arc<StoredOrders> {
        let mut pools: BTreeMap<String, PoolOrders> = BTreeMap::new();
        for (name, revision, value) in keys.iter() {
            let name = std::str::from_utf8(name).ok().and_then(|name| name.split_once('/'));
            if let Some((pool, member)) = name {
                let orders = pools.entry(pool.to_owned()).or_default();
                orders.insert(member.to_owned(), value::read(value, revision));
            }
        }
        let at = StoreRevision { store: self.known.store, revision: revision(keys.revision()) };
        Arc::new(StoredOrders { at, pools })
    }

    fn transaction(&self, offer: &OrderOffer) -> Transaction {
        let key = self.place.key(&offer.pool, &offer.member);
        let mod_revision = i64::try_from(offer.at.revision).unwrap_or(i64::MAX);
        let value = value::written(&offer.order, 0);
        Transaction {
            compare: vec![
                self.place.is_store(offer.at.store),
                Compare::Revision { key: key.clone(), mod_revision },
            ],
            then: vec![Operation::Put { key, value, lease: 0 }],
            otherwise: Vec::new(),
        }
    }
}

/// Whether somebody has put something newer there.
fn is_changed(keys: &KeyCopy, offer: &OrderOffer) -> bool {
    let name = format!("{}/{}", offer.pool, offer.member);
    revision(keys.revision_of(name.as_bytes())) != offer.at.revision
}

/// A revision of an answer.
fn revision(of: i64) -> u64 {
    u64::try_from(of).unwrap_or_default()
}

async fn first(
    watched: impl Future<Output = Result<WatchAnswer, EtcdError>>,
    offered: impl Future<Output = Option<OrderOffer>>,
    due: impl Future<Output = ()>,
) -> Heard {
    let (mut watched, mut offered, mut due) = (pin!(watched), pin!(offered), pin!(due));
    poll_fn(|cx| {
        if let Poll::Ready(answer) = watched.as_mut().poll(cx) {
            return Poll::Ready(Heard::Watched(answer));
        }
        if let Poll::Ready(offer) = offered.as_mut().poll(cx) {
            return Poll::Ready(Heard::Offered(offer));
        }
        due.as_mut().poll(cx).map(|()| Heard::Due)
    })
    .await
}
