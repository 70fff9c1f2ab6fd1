// SPDX-License-Identifier: Apache-2.0
//! The result of a selection function, made into a decision.

use mlua::Value;

use super::member::MemberHandle;
use super::pool::PoolHandle;
use crate::decision::answer::{Answer, FoundNone};

/// Schemes that mod_proxy's handlers know.
const SCHEMES: [&str; 10] = ["http", "https", "h2", "h2c", "ajp", "fcgi", "scgi", "uwsgi", "ws", "wss"];

const EXPECTED: &str = "expected a member, a pool or view, a list of these, a URL like \"http://10.0.0.1:8080\", a number \
                        (apache2.OK, apache2.DECLINED, apache2.DONE or a status from 200 to 599), or nil";

/// Makes a decision of the two values returned; `none` is what the last method that found no member
/// said. Err is the text for the error line.
pub(crate) fn convert(none: Option<FoundNone>, first: &Value, second: &Value) -> Result<Answer, String> {
    match first {
        Value::Nil => Ok(match (second, none) {
            (Value::Nil, _) => Answer::Decline,
            (other, Some(FoundNone::Full(pool, view, words))) => match shown(other) {
                message if message == words => Answer::Full { pool, view, message },
                // Other words are the script's own refusal.
                message => Answer::NoMember { pool: Some(pool), message },
            },
            (other, Some(FoundNone::In(pool))) => Answer::NoMember { pool, message: shown(other) },
            (other, None) => Answer::NoMember { pool: None, message: shown(other) },
        }),
        Value::Integer(number) => status(*number),
        Value::Number(number) if number.fract() == 0.0 => status(*number as i64),
        Value::String(text) => target(&text.as_bytes()),
        Value::UserData(object) => match object.borrow::<MemberHandle>() {
            // The plain case.
            Ok(member) => Ok(Answer::Member(member.member.clone())),
            Err(_) => one_of_list(object).and_then(|one| one.ok_or_else(|| nonsense(first))),
        },
        Value::Table(list) => members(list).unwrap_or_else(|| Err(nonsense(first))),
        _ => Err(nonsense(first)),
    }
}

/// A script that has written a page: what it returned says at most the status.
pub(crate) fn with_page(body: Vec<u8>, answer: Answer) -> Result<Answer, String> {
    match answer {
        Answer::Decline | Answer::Ok | Answer::Done => Ok(Answer::Page { status: None, body }),
        Answer::Status(status @ 200..) => Ok(Answer::Page { status: Some(status), body }),
        _ => Err("wrote a page (r:puts, r:write, ngx.say) and chose a backend as well, expected apache2.OK, apache2.DONE \
                  or a status with the page"
            .to_owned()),
    }
}

fn nonsense(value: &Value) -> String {
    format!("returned {}, {EXPECTED}", shown(value))
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.to_string_lossy(),
        Value::Integer(number) => number.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Boolean(flag) => flag.to_string(),
        other => format!("a {}", other.type_name()),
    }
}

fn status(number: i64) -> Result<Answer, String> {
    match number {
        -1 => Ok(Answer::Decline),
        -2 => Ok(Answer::Done),
        0 => Ok(Answer::Ok),
        200..=599 => Ok(Answer::Status(number as u16)),
        _ => Err(format!(
            "returned {number}, expected apache2.OK (0), apache2.DECLINED (-1), apache2.DONE (-2) or a status from 200 to 599"
        )),
    }
}

fn target(text: &[u8]) -> Result<Answer, String> {
    let base = &text[..balance::target::path_start(text, b"/?#")];
    let url =
        std::str::from_utf8(base).ok().filter(|base| !base.bytes().any(|byte| byte <= b' ' || byte == 0x7f));
    let url = url
        .map(|url| url.strip_prefix("unix:").and_then(|rest| Some(rest.split_once('|')?.1)).unwrap_or(url));
    let known = url.and_then(|url| url.split_once("://")).is_some_and(|(scheme, host)| {
        SCHEMES.iter().any(|s| s.eq_ignore_ascii_case(scheme)) && !host.is_empty()
    });
    if !known {
        return Err(format!(
            "returned the string {:?}, expected a URL like \"http://10.0.0.1:8080\" ({})",
            String::from_utf8_lossy(text),
            SCHEMES.join(", ")
        ));
    }
    Ok(Answer::Target(text.to_owned()))
}

/// None when the table is not a list.
fn members(list: &mlua::Table) -> Option<Result<Answer, String>> {
    let length = list.raw_len();
    if length == 0 {
        let empty = !list.has_metatable() && list.pairs::<Value, Value>().next().is_none();
        return empty.then(|| {
            Ok(Answer::NoMember {
                pool: None,
                message: "the script returned an empty list of members".into(),
            })
        });
    }
    let mut all: Vec<Answer> = Vec::with_capacity(length.min(64));
    for (at, value) in list.sequence_values::<Value>().enumerate() {
        let value = value.ok()?;
        let one = value.as_userdata().map_or_else(|| Ok(None), one_of_list);
        match one {
            Ok(Some(one)) if !all.contains(&one) => all.push(one),
            Ok(Some(_)) => {}
            Ok(None) => {
                return Some(Err(format!(
                    "returned a list with {} at {}, expected a member, a pool or a view",
                    shown(&value),
                    at + 1
                )));
            }
            Err(text) => return Some(Err(text)),
        }
    }
    let members: Option<Vec<_>> = all
        .iter()
        .map(|one| if let Answer::Member(member) = one { Some(member.clone()) } else { None })
        .collect();
    Some(Ok(members.map_or(Answer::Each(all), Answer::List)))
}

/// A member, pool or view of a list. None for any other object.
fn one_of_list(object: &mlua::AnyUserData) -> Result<Option<Answer>, String> {
    if let Ok(member) = object.borrow::<MemberHandle>() {
        return Ok(Some(Answer::Member(member.member.clone())));
    }
    let Ok(pool) = object.borrow::<PoolHandle>() else { return Ok(None) };
    let Some(id) = pool.id() else { return Err(format!("returned pool {}, which is gone", pool.name)) };
    Ok(Some(Answer::Pool { pool: id, view: pool.view.clone(), method: None }))
}
