// SPDX-License-Identifier: Apache-2.0
//! Decisions in words.

use balance::api::{PoolId, View, ViewStep};
use balance::explanation::{Considered, LeftOut};
use script::Answer;

use crate::ground::Ground;

/// Most characters of a text that a script or a request has given.
const MOST: usize = 500;

/// As much of a text as is shown.
pub fn bounded(text: &str) -> String {
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A view as a script would write it.
pub fn of_view(view: &View) -> String {
    let step = |step: &ViewStep| match step {
        ViewStep::Where(pairs) => {
            let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("where {}", pairs.join(" "))
        }
        ViewStep::Except(names) => format!("except {}", names.join(" ")),
        ViewStep::Only(names) => format!("only {}", names.join(" ")),
    };
    view.steps.iter().map(step).collect::<Vec<_>>().join(", ")
}

/// Why a member was not considered; empty for one that was.
pub fn of_considered(member: &Considered) -> String {
    match member.left_out {
        None => String::new(),
        Some(LeftOut::State) => member.state.to_string(),
        Some(LeftOut::NoWeight) => "weight 0".into(),
        Some(LeftOut::OthersFirst) => "others go first: by zone, lbset, or as spare or standby".into(),
    }
}

/// The words for a script's answer.
pub fn of_answer<G: Ground>(ground: &G, answer: &Answer) -> String {
    let name = |pool: &PoolId| {
        let now = ground.handle().now(*pool);
        now.map(|now| now.membership().name.to_string()).unwrap_or_default()
    };
    match answer {
        Answer::Decline => "nothing: not ours".into(),
        Answer::Ok => "apache2.OK".into(),
        Answer::Status(status) => format!("status {status}"),
        Answer::Member(member) => format!("member {}", member.spec.name),
        Answer::Pool { pool, view, .. } => {
            format!("pool {}{}", name(pool), if view.is_some() { ", narrowed" } else { "" })
        }
        Answer::List(members) => {
            let names: Vec<&str> = members.iter().map(|member| member.spec.name.as_str()).collect();
            format!("members {}", names.join(", "))
        }
        Answer::Each(list) => {
            let each: Vec<String> = list.iter().map(|one| of_answer(ground, one)).collect();
            format!("a list: {}", each.join("; "))
        }
        Answer::Target(url) => format!("\"{}\"", String::from_utf8_lossy(url).escape_debug()),
        Answer::NoMember { message, .. } | Answer::Full { message, .. } => format!("nil: {message}"),
        Answer::Peer(peer) => format!("peer {}:{}", peer.host, peer.port),
        Answer::Done => "apache2.DONE".into(),
        Answer::Page { .. } => "a page".into(),
        other => format!("{other:?}"),
    }
}
