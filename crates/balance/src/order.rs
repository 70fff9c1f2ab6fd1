// SPDX-License-Identifier: Apache-2.0
//! Orders about a member from while the server ran, and their reasons: kept beside the member's
//! line, as one line of `key=value` words.

use crate::error::ParseError;
use crate::event::Person;
use crate::member::MemberSpec;
use crate::status::Status;
use crate::words;

/// Longest text of an order, in bytes.
pub const MAX_ORDER_TEXT: usize = 1024;
/// Longest note, in bytes.
pub const MAX_NOTE: usize = 200;

/// The state that an administrator wants for a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AdminState {
    /// It serves.
    Ready,
    /// It keeps its sessions, and takes no new ones.
    Drain,
    /// It gets no requests at all.
    Disabled,
}

/// The state that holds when the time of an order has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Then {
    /// Another order.
    AdminState(AdminState),
    /// The member is removed.
    Removed,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Order {
    /// The person.
    pub by: Option<String>,
    /// From which address.
    pub from: Option<String>,
    /// When: epoch seconds.
    pub at: u64,
    /// The ordered state; None: nothing was ordered of it.
    pub admin: Option<AdminState>,
    /// The weight that was ordered, in hundredths; None: none.
    pub weight: Option<u32>,
    /// When `then` holds: epoch seconds.
    pub until: Option<u64>,
    /// The state that holds then.
    pub then: Option<Then>,
    /// Why, in words.
    pub note: Option<String>,
    /// Most requests at the same time, in place of the configured number.
    pub max_inflight: Option<u32>,
    /// All meta keys, in place of the configured ones.
    pub meta: Option<Vec<(String, String)>>,
    /// Its source names the member no more: it drains until then (epoch seconds), and is removed.
    /// Nobody's order: what else stands here is for when it comes back before.
    pub gone: Option<u64>,
    /// It was given here alone, while others share their orders: the revision of the store that was
    /// known then. See [`crate::sharing`].
    pub local: Option<StoreRevision>,
}

/// A revision of a store of shared orders.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct StoreRevision {
    /// The store's identity: revisions of others say nothing about it. 0: it has none.
    pub store: u64,
    /// The revision; 0: none is known.
    pub revision: u64,
}

impl StoreRevision {
    fn to_text(self) -> String {
        format!("{}@{:016x}", self.revision, self.store)
    }

    /// Earlier versions have written the revision alone.
    fn from_text(text: &str) -> Option<Self> {
        let (revision, store) = text.split_once('@').unwrap_or((text, "0"));
        Some(StoreRevision { store: u64::from_str_radix(store, 16).ok()?, revision: revision.parse().ok()? })
    }
}

/// The words of a member's line that an order replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// Most requests at the same time.
    pub max_inflight: u32,
    /// The meta keys.
    pub meta: Vec<(String, String)>,
}

impl AdminState {
    /// The flags that make up an [`AdminState`].
    pub const FLAGS: u64 = Status::DRAINING | Status::DISABLED | Status::STOPPED | Status::FORCED_ERROR;

    /// The state that these flags of a status amount to.
    pub fn of(flags: u64) -> Self {
        if flags & (Status::DISABLED | Status::STOPPED | Status::FORCED_ERROR) != 0 {
            AdminState::Disabled
        } else if flags & Status::DRAINING != 0 {
            AdminState::Drain
        } else {
            AdminState::Ready
        }
    }

    /// The flags of a status that say this.
    pub fn flags(self) -> u64 {
        match self {
            AdminState::Ready => 0,
            AdminState::Drain => Status::DRAINING,
            AdminState::Disabled => Status::DISABLED,
        }
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            AdminState::Ready => "ready",
            AdminState::Drain => "drain",
            AdminState::Disabled => "disabled",
        }
    }

    /// By its word.
    pub fn from_word(word: &str) -> Option<Self> {
        [AdminState::Ready, AdminState::Drain, AdminState::Disabled]
            .into_iter()
            .find(|admin| admin.word() == word)
    }
}

impl Then {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Then::AdminState(admin) => admin.word(),
            Then::Removed => "removed",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        if word == "removed" {
            Some(Then::Removed)
        } else {
            AdminState::from_word(word).map(Then::AdminState)
        }
    }
}

impl Order {
    /// The person that gave it.
    pub fn person(&self) -> Person {
        Person { name: self.by.clone(), from: self.from.clone(), note: self.note.clone() }
    }

    /// Whether it asks for nothing (any more).
    pub fn is_empty(&self) -> bool {
        self.admin.is_none()
            && self.weight.is_none()
            && self.until.is_none()
            && self.note.is_none()
            && self.max_inflight.is_none()
            && self.meta.is_none()
            && self.gone.is_none()
            && self.local.is_none()
    }

    /// Whether it stands in place of something of the member's line.
    pub fn overlays(&self) -> bool {
        self.max_inflight.is_some() || self.meta.is_some()
    }

    /// Puts what it says in place of what the member's line says.
    pub fn overlay(&self, spec: &mut MemberSpec) {
        if let Some(most) = self.max_inflight {
            spec.max_inflight = most;
        }
        if let Some(meta) = &self.meta {
            spec.meta.clone_from(meta);
        }
    }

    /// The line that [`Order::from_text`] makes the same order of. Without control characters.
    pub fn to_text(&self) -> String {
        let mut line = String::new();
        let mut put = |key: &str, value: &str| {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&words::pair(key, &value.replace(char::is_control, "?")));
        };
        put("at", &self.at.to_string());
        for (key, text) in [("by", &self.by), ("from", &self.from), ("note", &self.note)] {
            if let Some(text) = text {
                put(key, text);
            }
        }
        let words = [("admin", self.admin.map(AdminState::word)), ("then", self.then.map(Then::word))];
        for (key, word) in words {
            if let Some(word) = word {
                put(key, word);
            }
        }
        let numbers = [
            ("weight", self.weight.map(u64::from)),
            ("until", self.until),
            ("max_inflight", self.max_inflight.map(u64::from)),
            ("gone", self.gone),
        ];
        for (key, number) in numbers {
            if let Some(number) = number {
                put(key, &number.to_string());
            }
        }
        if let Some(local) = self.local {
            put("local", &local.to_text());
        }
        if let Some(meta) = &self.meta {
            put("meta", "");
            for (key, value) in meta {
                put(&format!("meta.{key}"), value);
            }
        }
        line
    }

    /// Reads what [`Order::to_text`] wrote. Words that it does not know are left out: a later
    /// version has written them.
    pub fn from_text(text: &str) -> Result<Self, ParseError> {
        let mut order = Order::default();
        for word in words::split(text)? {
            let Some((key, value)) = word.split_once('=') else { continue };
            let number = || value.parse::<u64>().ok();
            let small = || value.parse::<u32>().ok();
            match key {
                "at" => order.at = number().unwrap_or_default(),
                "by" => order.by = Some(value.to_owned()),
                "from" => order.from = Some(value.to_owned()),
                "note" => order.note = Some(value.to_owned()),
                "admin" => order.admin = AdminState::from_word(value),
                "then" => order.then = Then::from_word(value),
                "weight" => order.weight = small(),
                "until" => order.until = number(),
                "gone" => order.gone = number(),
                "local" => order.local = StoreRevision::from_text(value),
                "max_inflight" => order.max_inflight = small(),
                "meta" => order.meta = Some(order.meta.take().unwrap_or_default()),
                key => {
                    if let Some(key) = key.strip_prefix("meta.") {
                        let pairs = order.meta.get_or_insert_default();
                        pairs.push((key.to_owned(), value.to_owned()));
                    }
                }
            }
        }
        Ok(order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn order() -> impl Strategy<Value = Order> {
        let text = || proptest::option::of("[ -~é\u{1f600}]{0,40}");
        let admin = prop_oneof![Just(AdminState::Ready), Just(AdminState::Drain), Just(AdminState::Disabled)];
        let then = prop_oneof![admin.clone().prop_map(Then::AdminState), Just(Then::Removed)];
        let meta =
            proptest::option::of(proptest::collection::vec(("[a-zA-Z0-9_.-]{1,8}", "[ -~é]{0,12}"), 0..4));
        let people = (text(), text(), text(), any::<u64>());
        let what = (
            proptest::option::of(admin),
            proptest::option::of(any::<u32>()),
            proptest::option::of(any::<u64>()),
            proptest::option::of(then),
            proptest::option::of(any::<u32>()),
            proptest::option::of(any::<u64>()),
            proptest::option::of((any::<u64>(), any::<u64>())),
        );
        (people, what, meta).prop_map(|((by, from, note, at), what, meta)| {
            let (admin, weight, until, then, max_inflight, gone, local) = what;
            let local = local.map(|(store, revision)| StoreRevision { store, revision });
            Order { by, from, at, admin, weight, until, then, note, max_inflight, meta, gone, local }
        })
    }

    proptest! {
        #[test]
        fn orders_are_read_back_as_they_were_written(order in order()) {
            let text = order.to_text();
            prop_assert!(!text.contains('\n'), "{text}");
            prop_assert_eq!(Order::from_text(&text), Ok(order));
        }
    }

    #[test]
    fn words_of_a_later_version_are_left_out() {
        let read = Order::from_text("at=5 colour=red plain note=\"a b\" then=exploded");
        assert_eq!(read, Ok(Order { at: 5, note: Some("a b".into()), ..Order::default() }));
    }

    #[test]
    fn the_words_of_flags_are_those_that_set_them() {
        for admin in [AdminState::Ready, AdminState::Drain, AdminState::Disabled] {
            assert_eq!(AdminState::of(admin.flags()), admin);
            assert_eq!(AdminState::from_word(admin.word()), Some(admin));
        }
        assert_eq!(AdminState::of(Status::DRAINING | Status::STOPPED), AdminState::Disabled);
    }
}
