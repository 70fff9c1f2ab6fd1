// SPDX-License-Identifier: Apache-2.0
//! A merge patch of a member as steps.

use balance::event::Person;
use balance::line::MAX_VALUE;
use balance::order::{AdminState, MAX_NOTE, MAX_ORDER_TEXT, Order, Then};
use balance::snapshot::{MemberState, PoolState};
use balance::steps::{Doing, MemberStep};
use balance::units;
use render::time::Time;
use serde_json::Value;

use crate::draft::flags;
use crate::element::decimal;
use crate::problem::Problem;

/// All keys.
pub(crate) const KEYS: [&str; 8] =
    ["admin", "until", "then", "note", "weight", "max_inflight", "meta", "reset"];

/// When, and who.
pub(crate) struct Now {
    pub epoch_s: u64,
    pub by: Person,
}

/// The steps of a patch, and its note.
pub(crate) struct Patched {
    pub steps: Vec<MemberStep>,
    /// For the log.
    pub note: Option<String>,
}

/// The steps of a patch. Nothing is asked for twice: a key that has its value already makes no
/// step.
pub(crate) fn steps(
    pool: &PoolState,
    member: &MemberState,
    body: &Value,
    now: &Now,
) -> Result<Patched, Problem> {
    let Value::Object(keys) = body else {
        return Err(Problem::json("body", body, "an object of keys to change"));
    };
    let mut patch =
        Patch { member, now, order: member.order.clone().unwrap_or_default(), changes: Vec::new() };
    if let Some(key) = keys.keys().find(|key| !KEYS.contains(&key.as_str())) {
        let expected = format!("one of {}", KEYS.join(", "));
        return Err(Problem::value(key, "a key that cannot be changed", expected));
    }
    // The state first: it takes back what earlier orders said of its end and its reason.
    for key in KEYS {
        if let Some(value) = keys.get(key) {
            patch.set(key, value)?;
        }
    }
    if patch.order.then.is_some() && patch.order.until.is_none() {
        return Err(Problem::value("then", "no until", "a time in until, when it shall hold"));
    }
    let note = patch.order.note.clone();
    Ok(Patched { steps: patch.finish(pool)?, note })
}

struct Patch<'a> {
    member: &'a MemberState,
    now: &'a Now,
    order: Order,
    changes: Vec<Doing>,
}

impl Patch<'_> {
    fn set(&mut self, key: &str, value: &Value) -> Result<(), Problem> {
        match key {
            "admin" => self.admin(value),
            "until" => self.until(value),
            "then" => self.then(value),
            "note" => self.note(value),
            "weight" => self.weight(value),
            "max_inflight" => {
                self.order.max_inflight = match value {
                    Value::Null => None,
                    value => Some(whole(key, value)?),
                };
                Ok(())
            }
            "meta" => self.meta(value),
            _ => self.reset(value),
        }
    }

    fn admin(&mut self, value: &Value) -> Result<(), Problem> {
        let configured = self.member.spec.flags & AdminState::FLAGS;
        let (admin, wanted) = match value {
            Value::Null => (None, configured),
            value => {
                let admin = word(value).and_then(AdminState::from_word);
                let admin =
                    admin.ok_or_else(|| Problem::json("admin", value, "ready, drain, disabled or null"))?;
                (Some(admin), admin.flags())
            }
        };
        let is_new = admin != self.order.admin;
        if wanted != flags(self.member) {
            self.changes.push(Doing::Switch(wanted));
        }
        self.order.admin = admin.filter(|admin| *admin != AdminState::of(configured));
        if is_new {
            (self.order.until, self.order.then, self.order.note) = (None, None, None);
        }
        Ok(())
    }

    fn until(&mut self, value: &Value) -> Result<(), Problem> {
        let expected =
            "a time to come such as \"2030-01-31T12:00:00Z\", a duration such as \"30m\", seconds, or null";
        let wrong = || Problem::json("until", value, expected);
        let until = match value {
            Value::Null => {
                self.order.then = None;
                self.order.until = None;
                return Ok(());
            }
            Value::String(text) => time(text, self.now.epoch_s),
            Value::Number(number) => {
                let seconds = number.as_f64().filter(|seconds| (0.0..1e10).contains(seconds));
                seconds.map(|seconds| self.now.epoch_s.saturating_add(seconds.ceil() as u64))
            }
            _ => None,
        };
        let is_to_come = |until: &u64| *until > self.now.epoch_s;
        self.order.until = Some(until.filter(is_to_come).ok_or_else(wrong)?);
        Ok(())
    }

    fn then(&mut self, value: &Value) -> Result<(), Problem> {
        self.order.then = match value {
            Value::Null => None,
            value => {
                let admin = word(value).and_then(AdminState::from_word);
                let admin =
                    admin.ok_or_else(|| Problem::json("then", value, "ready, drain, disabled or null"))?;
                Some(Then::AdminState(admin))
            }
        };
        Ok(())
    }

    fn note(&mut self, value: &Value) -> Result<(), Problem> {
        self.order.note = match value {
            Value::Null => None,
            value => {
                let expected =
                    format!("a text of at most {MAX_NOTE} bytes without control characters, or null");
                let good = |text: &&str| text.len() <= MAX_NOTE && !text.contains(char::is_control);
                let note = word(value).filter(good).ok_or_else(|| Problem::json("note", value, expected))?;
                (!note.is_empty()).then(|| note.to_owned())
            }
        };
        Ok(())
    }

    fn weight(&mut self, value: &Value) -> Result<(), Problem> {
        let configured = self.member.weights.configured;
        let wanted = match value {
            Value::Null => configured,
            value => weight(value)?,
        };
        if wanted != self.member.weights.ordered {
            self.changes.push(Doing::Weigh(wanted));
        }
        self.order.weight = (wanted != configured).then_some(wanted);
        Ok(())
    }

    fn meta(&mut self, value: &Value) -> Result<(), Problem> {
        let Value::Object(pairs) = value else {
            if value.is_null() {
                self.order.meta = None;
                return Ok(());
            }
            return Err(Problem::json("meta", value, "an object of texts and nulls, or null"));
        };
        let mut meta = self.member.spec.meta.clone();
        for (key, value) in pairs {
            meta.retain(|(known, _)| known != key);
            if !value.is_null() {
                meta.push((key.clone(), meta_value(key, value)?));
            }
        }
        if meta != self.member.spec.meta {
            self.order.meta = Some(meta);
        }
        Ok(())
    }

    fn reset(&mut self, value: &Value) -> Result<(), Problem> {
        match value {
            Value::Bool(true) => self.changes.push(Doing::Recount),
            Value::Bool(false) => {}
            value => return Err(Problem::json("reset", value, "true")),
        }
        Ok(())
    }

    fn finish(mut self, pool: &PoolState) -> Result<Vec<MemberStep>, Problem> {
        let before = self.member.order.as_ref();
        let same = before.cloned().unwrap_or_default() == self.order;
        let order = (!self.order.is_empty()).then(|| {
            if !same {
                let Person { name, from, .. } = &self.now.by;
                (self.order.by, self.order.from) = (name.clone(), from.clone());
                self.order.at = self.now.epoch_s;
            }
            self.order
        });
        if order.as_ref().is_some_and(|order| order.to_text().len() > MAX_ORDER_TEXT) {
            let detail = format!("all that is ordered of a member has at most {MAX_ORDER_TEXT} bytes");
            return Err(Problem::new(422, detail));
        }
        let (pool, name) = (pool.name.to_string(), &self.member.spec.name);
        let step = |what| MemberStep { pool: pool.clone(), member: name.clone(), what };
        let mut steps: Vec<MemberStep> = self.changes.into_iter().map(step).collect();
        if order.as_ref() != before {
            steps.push(step(Doing::Order(order)));
        }
        Ok(steps)
    }
}

fn word(value: &Value) -> Option<&str> {
    value.as_str()
}

fn whole(key: &str, value: &Value) -> Result<u32, Problem> {
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    number.ok_or_else(|| Problem::json(key, value, format!("a whole number of 0 to {}, or null", u32::MAX)))
}

/// A weight in hundredths.
pub(crate) fn weight(value: &Value) -> Result<u32, Problem> {
    let text = value.as_f64().filter(|_| value.is_number()).and_then(decimal);
    let weight = text.and_then(|text| units::weight(&text).ok());
    weight.ok_or_else(|| Problem::json("weight", value, "a number of 0 to 65535, for example 3 or 1.5"))
}

fn meta_value(key: &str, value: &Value) -> Result<String, Problem> {
    let is_key = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    if !is_key {
        let expected = "a key of letters, digits, _ - and ., for example version";
        return Err(Problem::value(&format!("meta.{key}"), key, expected));
    }
    let good = |text: &&str| text.len() <= MAX_VALUE && !text.contains(char::is_control);
    let expected = format!("a text of at most {MAX_VALUE} bytes without control characters, or null");
    let text = word(value).filter(good);
    text.map(str::to_owned).ok_or_else(|| Problem::json(&format!("meta.{key}"), value, expected))
}

/// Whole seconds of a duration, rounded up.
pub(crate) fn seconds(key: &str, text: &str) -> Result<u64, Problem> {
    let ms = units::duration_ms(text);
    ms.map(|ms| ms.div_ceil(1000))
        .map_err(|_| Problem::value(key, text, "a duration such as 500ms, 30s, 5m or 1h"))
}

/// A time of a request: at, or in so many seconds.
fn time(text: &str, now_s: u64) -> Option<u64> {
    let at = Time::parse(text).map(|time| time.0);
    at.or_else(|| seconds("until", text).ok().map(|seconds| now_s.saturating_add(seconds)))
}
