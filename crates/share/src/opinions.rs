// SPDX-License-Identifier: Apache-2.0
//! What servers say of members by their checks: keys `PREFIX/health/POOL/MEMBER/ID` under the lease
//! of the server that says it.

use std::collections::BTreeMap;
use std::time::Duration;

use etcd::{EtcdClient, EtcdError, KeyCopy, Operation, Transaction};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// How often a lease is renewed.
pub(crate) const PACE: Duration = Duration::from_secs(2);

/// Most bytes of a reason.
const MOST_REASON: usize = 200;
/// Most bytes of a server's name.
const MOST_NAME: usize = 64;
/// Most keys of one transaction.
const MOST: usize = 100;

/// A server's word about a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opinion {
    /// `up`, `down` or `ejected`.
    pub state: String,
    /// Since when: epoch seconds.
    pub since: u64,
    /// The finding that has brought it about; empty where there is none.
    pub reason: String,
}

/// One server's opinions by pool and member.
pub type OwnOpinions = BTreeMap<(String, String), Opinion>;
/// Opinions of all servers by pool and member, with the names of the servers.
pub type AllOpinions = BTreeMap<(String, String), Vec<(String, Opinion)>>;

/// The keys of this server.
#[derive(Debug, Default)]
pub(crate) struct OwnKeys {
    wanted: Option<BTreeMap<String, Vec<u8>>>,
    written: BTreeMap<String, Vec<u8>>,
    /// The revision of that.
    at: i64,
}

impl OwnKeys {
    /// These are to be there.
    pub(crate) fn want(&mut self, id: &str, opinions: &OwnOpinions) {
        let key = |((pool, member), opinion): (&(String, String), &Opinion)| {
            (format!("{pool}/{member}/{id}"), serde_json::to_vec(opinion).unwrap_or_default())
        };
        self.wanted = Some(opinions.iter().map(key).collect());
    }

    /// None is there: the lease is a new one.
    pub(crate) fn are_gone(&mut self) {
        self.written.clear();
    }

    /// These are there of this server, by its name and its lease. True when they are not those that
    /// it has written last.
    pub(crate) fn are_there(&mut self, (id, lease): (&str, i64), keys: &KeyCopy) -> bool {
        if keys.revision() < self.at {
            return false;
        }
        let own = keys.iter().filter_map(|(name, _, value)| {
            let text = std::str::from_utf8(name).ok()?;
            let is_own = text.rsplit('/').next() == Some(id) && keys.lease_of(name) == lease;
            is_own.then(|| (text.to_owned(), value.to_vec()))
        });
        let written = std::mem::replace(&mut self.written, own.collect());
        written != self.written
    }

    /// Has the store be as wanted. The lease is renewed meanwhile: a slow store takes its time for
    /// many of them.
    pub(crate) async fn write(
        &mut self,
        client: &mut EtcdClient,
        prefix: &str,
        lease: i64,
    ) -> Result<(), EtcdError> {
        let Some(wanted) = &self.wanted else { return Ok(()) };
        let is_new = |(key, value): &(&String, &Vec<u8>)| self.written.get(*key) != Some(*value);
        let put = |(key, value): (&String, &Vec<u8>)| Operation::Put {
            key: format!("{prefix}{key}"),
            value: value.clone(),
            lease,
        };
        let gone = self.written.keys().filter(|key| !wanted.contains_key(*key));
        let delete = |key: &String| Operation::Delete { key: format!("{prefix}{key}") };
        let all: Vec<Operation> = wanted.iter().filter(is_new).map(put).chain(gone.map(delete)).collect();
        let mut renewed = Instant::now();
        for some in all.chunks(MOST) {
            if renewed.elapsed() >= PACE {
                client.keep_alive(lease).await?;
                renewed = Instant::now();
            }
            let done =
                client.transact(&Transaction { then: some.to_vec(), ..Transaction::default() }).await?;
            self.at = done.header.revision;
        }
        self.written.clone_from(wanted);
        Ok(())
    }
}

/// The opinions among these keys; what cannot be read is left out.
pub(crate) fn all(keys: &KeyCopy) -> AllOpinions {
    let mut all = AllOpinions::new();
    for (name, _, value) in keys.iter() {
        let Ok(name) = std::str::from_utf8(name) else { continue };
        let mut parts = name.split('/');
        let (Some(pool), Some(member), Some(id), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        // A word without a lease is nobody's who is alive.
        let Some(front) = front(id.as_bytes()).filter(|_| keys.lease_of(name.as_bytes()) != 0) else {
            continue;
        };
        if let Some(opinion) = read(value) {
            let of = (pool.to_owned(), member.to_owned());
            all.entry(of).or_default().push((front.to_owned(), opinion));
        }
    }
    all
}

/// The name of a server, if it may be one.
pub(crate) fn front(name: &[u8]) -> Option<&str> {
    let is_one = (1..=MOST_NAME).contains(&name.len()) && name.iter().all(u8::is_ascii_alphanumeric);
    std::str::from_utf8(name).ok().filter(|_| is_one)
}

/// Opinions as a text for [`read_opinions`]. `whole`: also of members of whom all say that they are
/// up.
pub fn opinions_text(all: &AllOpinions, whole: bool) -> String {
    let is_wanted = |said: &Vec<(String, Opinion)>| whole || said.iter().any(|(_, one)| one.state != "up");
    let list: Vec<_> = all.iter().filter(|(_, said)| is_wanted(said)).collect();
    if list.is_empty() { String::new() } else { serde_json::to_string(&list).unwrap_or_default() }
}

/// Reads what [`opinions_text`] wrote; nothing of anything else.
pub fn read_opinions(text: &[u8]) -> AllOpinions {
    type List = Vec<((String, String), Vec<(String, Opinion)>)>;
    serde_json::from_slice::<List>(text).map(|list| list.into_iter().collect()).unwrap_or_default()
}

fn read(value: &[u8]) -> Option<Opinion> {
    let mut opinion: Opinion = serde_json::from_slice(value).ok()?;
    let is_word = ["up", "down", "ejected"].contains(&opinion.state.as_str());
    opinion.reason = shown(&opinion.reason);
    is_word.then_some(opinion)
}

/// A reason as it is shown.
fn shown(text: &str) -> String {
    let fits = |(at, c): &(usize, char)| at + c.len_utf8() <= MOST_REASON;
    let is_shown = |c: char| if c.is_control() { '?' } else { c };
    text.char_indices().take_while(fits).map(|(_, c)| is_shown(c)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opinions_are_read_back_as_they_were_written() {
        let opinion = |state: &str| Opinion { state: state.to_owned(), since: 7, reason: "é\"".to_owned() };
        let said = |state| vec![("f1".to_owned(), opinion("up")), ("f2".to_owned(), opinion(state))];
        let of = |member: &str| ("app".to_owned(), member.to_owned());
        let mut all = AllOpinions::from([(of("a"), said("down")), (of("b"), said("up"))]);
        assert_eq!(read_opinions(opinions_text(&all, true).as_bytes()), all);
        all.remove(&of("b"));
        assert_eq!(read_opinions(opinions_text(&all, false).as_bytes()), all);
        assert_eq!((read_opinions(b"[1"), read_opinions(b"")), (AllOpinions::new(), AllOpinions::new()));
    }

    #[test]
    fn a_value_of_somebody_else_is_read_within_bounds_or_left_out() {
        for text in ["", "[]", r#"{"state":"dead","since":1,"reason":""}"#, r#"{"state":"up"}"#] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
        let long = format!(r#"{{"state":"down","since":1,"reason":"\u0007{}"}}"#, "é".repeat(400));
        let read = read(long.as_bytes()).expect("an opinion");
        assert_eq!(read.reason, format!("?{}", "é".repeat(99)));
    }
}
