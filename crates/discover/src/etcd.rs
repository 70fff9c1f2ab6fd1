// SPDX-License-Identifier: Apache-2.0
//! Lists by the keys of an etcd: `etcd:http://h:2379/lb/app`. All keys below the prefix at one
//! revision, and from then on the changes as they come. Where the watch cannot tell of changes, all
//! keys are asked for again, and nothing changes when these say the same.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ::etcd::{Copied, EtcdClient, EtcdError, EtcdPlaces, KeyCopy, MOST, RangeQuery, Watch};
use balance::settings::EtcdPlace;
use tokio::time::Instant;

use crate::source::{Look, PolledSource};
use crate::{KnownEntries, Listed, ListingRules, listing};

/// How often etcd is asked whether it is there: a watch is silent where nothing changes, where the
/// server hangs, and where it has lost its leader.
const PACE: Duration = Duration::from_secs(2);
/// For how long changes that follow each other are joined: each makes a list.
const JOIN: Duration = Duration::from_millis(100);
/// The least time from one range to the next, however soon watches end.
const FLOOR: Duration = Duration::from_millis(500);

/// See the module.
pub(crate) struct EtcdSource {
    client: EtcdClient,
    /// With the slash behind it.
    prefix: String,
    /// It is below a store that there is none of.
    is_lost: bool,
    rules: ListingRules,
    session: Option<Session>,
    /// A look has begun and not ended: somebody wants all asked anew.
    is_looking: bool,
    /// When all keys were last asked for.
    ranged: Option<Instant>,
    /// The last keys, and their list.
    known: Option<(KeyCopy, Result<Arc<Listed>, String>)>,
    entries: KnownEntries,
}

/// A watch that goes on.
struct Session {
    watch: Watch,
    keys: KeyCopy,
    asked: Instant,
}

impl EtcdSource {
    /// Relative paths are below `root`.
    pub(crate) fn new(place: &EtcdPlace, rules: ListingRules, root: &Path) -> Self {
        EtcdSource {
            client: EtcdClient::new(EtcdPlaces::of(place, root)),
            is_lost: place.is_in_store(),
            prefix: format!("{}/", place.prefix()),
            rules,
            session: None,
            is_looking: false,
            ranged: None,
            known: None,
            entries: KnownEntries::default(),
        }
    }

    /// Waits for the next change, or for a while without one.
    async fn next(&mut self) -> Result<(), String> {
        if let Some(session) = &mut self.session {
            match session.go_on(&mut self.client, &self.prefix).await {
                Ok(()) => return Ok(()),
                // The keys are asked for anew, here or at the next endpoint.
                Err(_) => self.session = None,
            }
        }
        if let Some(ranged) = self.ranged {
            tokio::time::sleep_until(ranged + FLOOR).await;
        }
        if self.is_lost {
            return Err("there is no LuaBalancerStore that it is below".into());
        }
        let mut failed = Vec::new();
        for _ in 0..self.client.endpoints() {
            match self.begin().await {
                Ok(session) => {
                    self.session = Some(session);
                    return Ok(());
                }
                Err(why @ EtcdError::Refused { .. }) => return Err(why.to_string()),
                Err(why) => failed.push(why.to_string()),
            }
        }
        Err(failed.join("; "))
    }

    /// All keys of now, and a watch from there on.
    async fn begin(&mut self) -> Result<Session, EtcdError> {
        self.ranged = Some(Instant::now());
        // Wrong entries count as well, up to as many again.
        let most = self.rules.max.saturating_mul(2);
        let endpoint = self.client.endpoint().to_owned();
        let range = self.client.range(&RangeQuery::Below(&self.prefix, most.saturating_add(1))).await?;
        let keys = KeyCopy::of(&self.prefix, range, (most, MOST))
            .map_err(|why| EtcdError::Garbage { endpoint, why })?;
        let watch = self.client.watch(&self.prefix, keys.revision() + 1).await?;
        Ok(Session { watch, keys, asked: Instant::now() })
    }

    /// The list of the session's keys.
    fn list(&mut self) -> Result<Arc<Listed>, String> {
        let Some(session) = &self.session else { return Err("there are no keys".into()) };
        if let Some((keys, found)) = &self.known
            && keys.says_the_same(&session.keys)
        {
            return found.clone();
        }
        let keys = session.keys.iter().map(|(name, _, value)| (name, value));
        let found = listing::read_keys(keys, self.rules, &mut self.entries)
            .map(|mut list| {
                list.first_skipped = self.client.hide(&list.first_skipped);
                Arc::new(list)
            })
            .map_err(|problem| self.client.hide(&problem.to_string()));
        self.known = Some((session.keys.clone(), found.clone()));
        found
    }
}

impl Session {
    /// Waits for a change, and for those that follow it at once; or until it is time to ask whether
    /// etcd is there, and it is.
    async fn go_on(&mut self, client: &mut EtcdClient, prefix: &str) -> Result<(), String> {
        let mut until = self.asked + PACE;
        let mut has_changed = false;
        loop {
            if has_changed && Instant::now() >= until {
                // However many more there are: they come with the next list.
                return Ok(());
            }
            match tokio::time::timeout_at(until, self.watch.next()).await {
                Err(_) if has_changed => return Ok(()),
                Err(_) => {
                    let count = client.range(&RangeQuery::Count(prefix)).await;
                    let count = count.map_err(|error| error.to_string())?;
                    if count.header.cluster_id != self.keys.cluster()
                        || count.header.revision < self.keys.revision()
                    {
                        return Err("it has other keys than before".into());
                    }
                    self.asked = Instant::now();
                    return Ok(());
                }
                Ok(answer) => match self.keys.take(answer.map_err(|error| error.to_string())?) {
                    Copied::Same => {}
                    Copied::Changed if has_changed => {}
                    Copied::Changed => (has_changed, until) = (true, Instant::now() + JOIN),
                    Copied::Again(why) => return Err(why),
                },
            }
        }
    }
}

impl PolledSource for EtcdSource {
    fn look(&mut self) -> Pin<Box<dyn Future<Output = Look> + '_>> {
        Box::pin(async {
            if std::mem::replace(&mut self.is_looking, true) {
                self.session = None;
            }
            let there = self.next().await;
            self.is_looking = false;
            match there {
                // A wrong list is mended by a change that the watch sees.
                Ok(()) => self.list().map_or_else(Look::Unmended, |list| Look::List(list, Duration::ZERO)),
                Err(why) => Look::Failed(why),
            }
        })
    }
}

#[cfg(test)]
mod tests;
