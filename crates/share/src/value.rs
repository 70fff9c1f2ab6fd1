// SPDX-License-Identifier: Apache-2.0
//! An order as the value of its key. Keys that are not known are left out: a later version has
//! written them.

use balance::order::{AdminState, MAX_NOTE, Order, Then};
use balance::sharing::StoredOrder;
use serde::{Deserialize, Serialize};

/// Most bytes of a user's name or an address.
const MAX_PERSON: usize = 200;
/// Largest weight, in hundredths.
const MAX_WEIGHT: f64 = 6_553_500.0;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct OrderValue {
    #[serde(skip_serializing_if = "Option::is_none")]
    admin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<f64>,
    /// Epoch seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    then: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// Epoch seconds.
    at: u64,
    /// Of the one who has written it.
    nonce: String,
}

/// The text of an order's shared part.
pub(crate) fn written(order: &Order, nonce: u64) -> Vec<u8> {
    let then = match order.then {
        Some(Then::AdminState(then)) => Some(then),
        _ => None,
    };
    let value = OrderValue {
        admin: order.admin.map(|admin| admin.word().to_owned()),
        weight: order.weight.map(|weight| f64::from(weight) / 100.0),
        until: order.until,
        then: then.map(|then| then.word().to_owned()),
        note: order.note.as_ref().map(|note| note.replace(char::is_control, "?")),
        by: clipped(order.by.as_deref()),
        from: clipped(order.from.as_deref()),
        at: order.at,
        nonce: format!("{nonce:016x}"),
    };
    serde_json::to_vec(&value).unwrap_or_default()
}

/// A name that [`read`] takes.
fn clipped(name: Option<&str>) -> Option<String> {
    let fits = |(at, c): &(usize, char)| at + c.len_utf8() <= MAX_PERSON;
    let is_shown = |c: char| if c.is_control() { '?' } else { c };
    name.map(|name| name.char_indices().take_while(fits).map(|(_, c)| is_shown(c)).collect())
}

/// Reads what [`written`] wrote, or somebody by hand.
pub(crate) fn read(text: &[u8], revision: i64) -> Result<StoredOrder, String> {
    let value: OrderValue = serde_json::from_slice(text).map_err(|error| etcd::json_words(&error))?;
    let state = |key: &str, word: Option<String>| match word {
        None => Ok(None),
        Some(word) => match AdminState::from_word(&word) {
            Some(state) => Ok(Some(state)),
            None => Err(format!("{key} is not ready, drain or disabled")),
        },
    };
    let weight = match value.weight.map(|weight| (weight * 100.0).round()) {
        Some(hundredths) if !(0.0..=MAX_WEIGHT).contains(&hundredths) => {
            return Err("weight is not a number of 0 to 65535".into());
        }
        hundredths => hundredths.map(|hundredths| hundredths as u32),
    };
    let order = Order {
        admin: state("admin", value.admin)?,
        weight,
        until: value.until,
        then: state("then", value.then)?.filter(|_| value.until.is_some()).map(Then::AdminState),
        note: text_of("note", value.note, MAX_NOTE)?,
        by: text_of("by", value.by, MAX_PERSON)?,
        from: text_of("from", value.from, MAX_PERSON)?,
        at: value.at,
        ..Order::default()
    };
    let nonce = u64::from_str_radix(&value.nonce, 16).unwrap_or_default();
    Ok(StoredOrder { revision: u64::try_from(revision).unwrap_or_default(), order, nonce })
}

fn text_of(key: &str, text: Option<String>, most: usize) -> Result<Option<String>, String> {
    match &text {
        Some(text) if text.len() > most || text.contains(char::is_control) => {
            Err(format!("{key} is not a text of at most {most} bytes without control characters"))
        }
        _ => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_that_is_not_an_order_is_refused_with_words() {
        for (text, says) in [
            ("", "EOF"),
            ("[1]", "invalid type"),
            (r#"{"admin":"gone"}"#, "admin is not ready, drain or disabled"),
            (r#"{"weight":-1}"#, "weight is not a number"),
            (r#"{"weight":65536}"#, "weight is not a number"),
            (r#"{"note":"a\nb"}"#, "note is not a text"),
            (r#"{"until":-5}"#, "invalid value: integer, expected u64 at line 1"),
            (r#"{"weight":"hunter2"}"#, "invalid type: string, expected f64 at line 1"),
            (r#""hunter2, expected""#, "invalid type: string, expected struct OrderValue at line 1"),
        ] {
            let said = read(text.as_bytes(), 7).expect_err(says);
            assert!(said.contains(says), "{said:?} should say {says:?}");
            assert!(!said.contains("hunter"), "{said:?}");
        }
        let by_hand = read(br#"{"admin":"drain","colour":"red"}"#, 7).expect("an order");
        assert_eq!((by_hand.order.admin, by_hand.nonce), (Some(AdminState::Drain), 0));
    }

    #[test]
    fn a_name_that_is_too_long_is_clipped_so_that_others_can_read_it() {
        let order = Order { by: Some(format!("\u{7}{}", "é".repeat(200))), ..Order::default() };
        let by = read(&written(&order, 1), 1).expect("an order").order.by;
        assert_eq!(by, Some(format!("?{}", "é".repeat(99))));
    }

    proptest! {
        #[test]
        fn an_order_is_read_back_as_it_was_written(
            (admin, then) in (0..4usize, 0..4usize),
            (weight, until) in (proptest::option::of(0u32..=6_553_500), proptest::option::of(any::<u64>())),
            note in proptest::option::of("[ -~é]{0,40}"),
            (at, nonce) in (any::<u64>(), any::<u64>()),
        ) {
            let state = |at: usize| [AdminState::Ready, AdminState::Drain, AdminState::Disabled].get(at).copied();
            let then = state(then).filter(|_| until.is_some()).map(Then::AdminState);
            let order = Order { admin: state(admin), weight, until, then, note, at, ..Order::default() };
            let stored = StoredOrder { revision: 9, order, nonce };
            prop_assert_eq!(read(&written(&stored.order, nonce), 9), Ok(stored));
        }
    }
}
