// SPDX-License-Identifier: Apache-2.0
//! Putting orders in the store: all of a change or none, and only where nobody else has been
//! faster.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use balance::sharing::{self, OrderDraft, PutFailure, Sharing};
use etcd::{Compare, EtcdClient, EtcdError, KeyValue, Operation, Transacted, Transaction};
use tokio::runtime::Builder;
use tokio::time::Instant;

use crate::place::StorePlace;
use crate::value;

/// Most members of one change: etcd takes so many operations at once.
const MOST: usize = 100;
/// How often a writer looks whether it is to wait on.
const LOOK: Duration = Duration::from_millis(50);
const ENDS: &str = "this process of the server ends, ask again";

/// See the module.
pub struct Desk {
    place: StorePlace,
}

/// The store, as it is known here.
#[derive(Debug, Clone, Copy)]
pub struct KnownStore {
    /// Its identity.
    pub store: u64,
    /// The number of the endpoint that has answered last, of the place's.
    pub endpoint: usize,
}

impl Desk {
    /// For the store at this place.
    pub fn new(place: StorePlace) -> Self {
        Desk { place }
    }

    /// Puts orders in the store, and waits for the answer, at most four times `timeout=`. Returns
    /// the revision that they have there. `nonce`: a number that nobody else uses. `now_s`: epoch
    /// seconds. Once `ends` says so, the answer is not waited for any more.
    ///
    /// # Errors
    /// None of them is there; see [`PutFailure`].
    pub fn put(
        &self,
        drafts: &[OrderDraft],
        known: KnownStore,
        nonce: u64,
        now_s: u64,
        ends: &dyn Fn() -> bool,
    ) -> Result<u64, PutFailure> {
        if ends() {
            return Err(PutFailure::Away(ENDS.into()));
        }
        if drafts.len() > MOST {
            return Err(PutFailure::Refused(format!(
                "a change has shared orders of at most {MOST} members, this one has {}",
                drafts.len()
            )));
        }
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| PutFailure::Away(error.to_string()))?;
        let done = runtime.block_on(unless(ends, self.put_now(drafts, known, nonce, now_s)));
        let done = done.unwrap_or_else(|| Err(PutFailure::Unknown(ENDS.into())));
        // A lookup of a name may hang.
        runtime.shutdown_background();
        done
    }

    async fn put_now(
        &self,
        drafts: &[OrderDraft],
        known: KnownStore,
        nonce: u64,
        now_s: u64,
    ) -> Result<u64, PutFailure> {
        let mut client = EtcdClient::new(self.place.etcd.clone());
        client.begin_at(known.endpoint);
        let until = Instant::now() + self.place.timeout();
        let put = self.put_if_same(&mut client, drafts, known.store, (nonce, now_s)).await;
        match put {
            // This server may have put a marked order there meanwhile: a second look tells.
            Err(PutFailure::Newer(_)) if Instant::now() < until => {
                self.put_if_same(&mut client, drafts, known.store, (nonce, now_s)).await
            }
            put => put,
        }
    }

    /// Puts them there if nobody changes the keys between look and change.
    async fn put_if_same(
        &self,
        client: &mut EtcdClient,
        drafts: &[OrderDraft],
        store: u64,
        (nonce, now_s): (u64, u64),
    ) -> Result<u64, PutFailure> {
        let key = |draft: &OrderDraft| self.place.key(&draft.pool, &draft.member);
        let found = self.look(client, drafts).await?;
        if self.place.identity(&found.kvs) != store {
            return Err(PutFailure::Away("it was replaced or went back, and is looked at anew".into()));
        }
        let mut transaction =
            Transaction { compare: vec![self.place.is_store(store)], ..Transaction::default() };
        for draft in drafts {
            let key = key(draft);
            let stored = found.kvs.iter().find(|kv| kv.key == key.as_bytes());
            let mod_revision = stored.map_or(0, |kv| kv.mod_revision);
            if stored.is_some_and(|kv| !is_known(kv, draft, store, now_s)) {
                return Err(newer(draft));
            }
            let there = stored.and_then(|kv| value::read(&kv.value, kv.mod_revision).ok());
            let there = there.as_ref().map(|there| &there.order);
            let order = sharing::put_in_place(there, draft.after.as_ref(), draft.defined, now_s);
            let value = value::written(&order, nonce);
            transaction.compare.push(Compare::Revision { key: key.clone(), mod_revision });
            transaction.then.push(Operation::Put { key, value, lease: 0 });
        }
        match client.transact(&transaction).await {
            Ok(done) if done.succeeded => Ok(u64::try_from(done.header.revision).unwrap_or_default()),
            Ok(_) => Err(drafts.first().map_or_else(|| PutFailure::Newer(String::new()), newer)),
            Err(error @ EtcdError::Refused { .. }) => Err(PutFailure::Refused(error.to_string())),
            Err(error) if error.may_have_landed() => Err(PutFailure::Unknown(error.to_string())),
            Err(error) => Err(PutFailure::Away(error.to_string())),
        }
    }

    /// The keys as they are now, of the first endpoint that answers within twice `timeout=`.
    async fn look(&self, client: &mut EtcdClient, drafts: &[OrderDraft]) -> Result<Transacted, PutFailure> {
        let get = |draft: &OrderDraft| Operation::Get { key: self.place.key(&draft.pool, &draft.member) };
        let store = Operation::Get { key: self.place.store.clone() };
        let then = drafts.iter().map(get).chain([store]).collect();
        let look = Transaction { then, ..Transaction::default() };
        let until = Instant::now() + self.place.timeout() * 2;
        let mut failed = None;
        for _ in 0..client.endpoints() {
            if Instant::now() >= until {
                break;
            }
            match client.transact(&look).await {
                Ok(found) => return Ok(found),
                Err(error @ EtcdError::Refused { .. }) => return Err(PutFailure::Refused(error.to_string())),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        Err(PutFailure::Away(failed.map_or_else(String::new, |error| error.to_string())))
    }
}

/// Whether the order here is the one in the store, as far as it is shared. A value that is not an
/// order is replaced.
fn is_known(kv: &KeyValue, draft: &OrderDraft, store: u64, now_s: u64) -> bool {
    let Ok(stored) = value::read(&kv.value, kv.mod_revision) else { return true };
    // An order that was given here alone is not there yet, and may be put there by this one.
    let here = draft.before.as_ref();
    !matches!(sharing::share(Some(&stored), here, draft.defined, store, now_s), Sharing::Take(_))
        || sharing::holds_here(&stored.order, here, draft.defined, now_s)
}

fn newer(draft: &OrderDraft) -> PutFailure {
    PutFailure::Newer(format!("{}/{}", draft.pool, draft.member))
}

/// The value of a future; None once `ends` says that it is not to be waited for.
async fn unless<T>(ends: &dyn Fn() -> bool, body: impl Future<Output = T>) -> Option<T> {
    let end = async {
        while !ends() {
            tokio::time::sleep(LOOK).await;
        }
    };
    let (mut body, mut end) = (pin!(body), pin!(end));
    poll_fn(|cx| match body.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => end.as_mut().poll(cx).map(|()| None),
    })
    .await
}
