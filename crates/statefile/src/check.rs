// SPDX-License-Identifier: Apache-2.0
//! Whether a document that was read says only what could have been ordered.

use std::collections::HashSet;

use balance::line::MAX_VALUE;
use balance::names;
use balance::order::MAX_NOTE;
use balance::url::MAX_MEMBER_NAME;

use crate::document::{KeptMember, KeptOrder, KeptPool, StateDocument};

/// Longest name of a user, or address, in bytes.
pub(crate) const MAX_PERSON: usize = 255;
/// Longest URL or line, in bytes.
const MAX_LINE: usize = 16 << 10;

pub(crate) fn document(document: &StateDocument) -> Result<(), String> {
    let mut seen = HashSet::new();
    for pool in &document.pools {
        if !names::is_name(&pool.name) {
            return Err(format!("{:?} is not a name for a pool", cut(&pool.name)));
        }
        if !seen.insert(pool.name.to_ascii_lowercase()) {
            return Err(format!("pool {} is there twice", pool.name));
        }
        members(pool)?;
    }
    Ok(())
}

fn members(pool: &KeptPool) -> Result<(), String> {
    let mut seen = HashSet::new();
    for member in &pool.members {
        let at = |what: String| format!("pool {}: {what}", pool.name);
        if !is_member_name(&member.name) {
            return Err(at(format!("{:?} is not a name for a member", cut(&member.name))));
        }
        if !seen.insert(&member.name) {
            return Err(at(format!("member {} is there twice", member.name)));
        }
        self::member(member).map_err(|text| at(format!("member {}: {text}", member.name)))?;
    }
    Ok(())
}

fn is_member_name(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:[]@~".contains(&byte);
    (1..=MAX_MEMBER_NAME).contains(&name.len()) && name.bytes().all(good)
}

fn cut(text: &str) -> String {
    text.chars().take(40).collect()
}

fn member(member: &KeptMember) -> Result<(), String> {
    text("url", &member.url, MAX_LINE)?;
    if let Some(added) = &member.added {
        text("line", &added.line, MAX_LINE)?;
        text("secret", added.secret.as_deref().unwrap_or_default(), MAX_VALUE)?;
    }
    if let Some(meta) = &member.overrides.meta {
        for (key, value) in meta.value.iter().chain(&meta.configured) {
            let is_key =
                !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
            if !is_key {
                return Err(format!("{:?} is not a key of meta", cut(key)));
            }
            text("meta", value, MAX_VALUE)?;
        }
    }
    member.order.as_ref().map_or(Ok(()), order)
}

fn order(order: &KeptOrder) -> Result<(), String> {
    text("by", order.by.as_deref().unwrap_or_default(), MAX_PERSON)?;
    text("from", order.from.as_deref().unwrap_or_default(), MAX_PERSON)?;
    text("note", order.note.as_deref().unwrap_or_default(), MAX_NOTE)
}

/// One line of at most so many bytes.
fn text(key: &str, value: &str, most: usize) -> Result<(), String> {
    if value.len() > most {
        return Err(format!("{key} has more than {most} bytes"));
    }
    match value.contains(char::is_control) {
        true => Err(format!("{key} has control characters")),
        false => Ok(()),
    }
}
