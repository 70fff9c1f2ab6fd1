// SPDX-License-Identifier: Apache-2.0
//! Tables of members and pools made into what the directives would say, so that both take the same
//! way and get the same checks.

use balance::keys;
use balance::member::MemberSpec;
use balance::settings::PoolSettings;
use mlua::{Table, Value};

/// Bytes of all texts in a definition, which are copied a few times on the way.
pub(crate) fn weight(table: &Table, depth: u32) -> usize {
    const DEEPEST: u32 = 4;
    let of = |value: &Value| match value {
        Value::String(text) => text.as_bytes().len(),
        Value::Table(inner) if depth < DEEPEST => weight(inner, depth + 1),
        _ => 8,
    };
    table.pairs::<Value, Value>().flatten().map(|(key, value)| of(&key) + of(&value)).sum()
}

/// A member as `pool:add` says it.
pub(crate) fn member_spec(table: &Table) -> mlua::Result<MemberSpec> {
    member(&Value::Table(table.clone()), &|_| false)
        .map_err(|text| mlua::Error::runtime(format!("pool:add: {text}")))
}

/// `"http://h:p"`, `{url = …}` or `{host = …, port = …}`, with the keys of `LuaBalancerMember`.
/// Without a name it gets one that is not `taken`.
pub(crate) fn member(value: &Value, taken: &dyn Fn(&str) -> bool) -> Result<MemberSpec, String> {
    let table = match value {
        Value::String(url) => {
            return MemberSpec::parse_beside(&url.to_string_lossy(), &[] as &[&str], taken)
                .map_err(|error| error.to_string());
        }
        Value::Table(table) => table,
        other => {
            let found = other.type_name();
            return Err(format!(
                "expected a table like {{host = \"192.168.1.10\", port = 8080}}, found a {found}"
            ));
        }
    };
    let mut words = Vec::new();
    for (key, value) in sorted(table)? {
        match (key.as_str(), &value) {
            ("url" | "host" | "port" | "scheme" | "path", _) => {}
            ("meta", Value::Table(meta)) => {
                for (key, value) in sorted(meta)? {
                    words.push(format!("meta.{key}={}", word(&key, &value)?));
                }
            }
            _ => words.push(format!("{key}={}", word(&key, &value)?)),
        }
    }
    MemberSpec::parse_beside(&url(table)?, &words, taken).map_err(|error| error.to_string())
}

fn url(table: &Table) -> Result<String, String> {
    let field = |key: &str| -> Result<Option<String>, String> {
        match table.raw_get::<Value>(key) {
            Ok(Value::Nil) | Err(_) => Ok(None),
            Ok(value) => word(key, &value).map(Some),
        }
    };
    if let Some(url) = field("url")? {
        return Ok(url);
    }
    let host = field("host")?.ok_or("expected url = \"http://192.168.1.10:8080\", or host and port")?;
    let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host };
    let port = field("port")?.map(|port| format!(":{port}")).unwrap_or_default();
    let scheme = field("scheme")?.unwrap_or_else(|| "http".into());
    Ok(format!("{scheme}://{host}{port}{}", field("path")?.unwrap_or_default()))
}

pub(crate) fn settings(table: &Table) -> Result<PoolSettings, String> {
    let mut settings = PoolSettings::default();
    let mut apply = |directive: &str, words: &[String]| {
        settings.set_directive(directive, words).map_err(|error| format!("{directive}: {error}"))
    };
    let (mut method, mut method_keys, mut set) = (None, Vec::new(), Vec::new());
    for (key, value) in sorted(table)? {
        match key.as_str() {
            "method" => method = Some(value),
            "health" | "health_check" => {
                apply("LuaBalancerHealthCheck", &directive(&value, &["type"], "none")?)?
            }
            "outlier" => apply("LuaBalancerOutlier", &directive(&value, &[], "off")?)?,
            "discovery" => {
                for source in sources(&value)? {
                    apply("LuaBalancerDiscovery", &source)?;
                }
            }
            "sticky" => apply("LuaBalancerSticky", &sticky(&value)?)?,
            key if keys::SET.contains(&key) => set.push(format!("{key}={}", word(key, &value)?)),
            key if keys::METHOD.contains(&key) => method_keys.push(format!("{key}={}", word(key, &value)?)),
            other => {
                return Err(format!(
                    "unknown key '{other}', expected method, key, balance_factor, health, outlier, sticky, discovery, {} or members",
                    keys::SET.join(", ")
                ));
            }
        }
    }
    if method.is_some() || !method_keys.is_empty() {
        let mut words = match method {
            Some(method) => directive(&method, &["name"], "round_robin")?,
            None => vec!["consistent_hash".to_owned()],
        };
        words.extend(method_keys);
        apply("LuaBalancerMethod", &words)?;
    }
    if !set.is_empty() {
        apply("LuaBalancerSet", &set)?;
    }
    Ok(settings)
}

/// A directive's words: the first from `"text"`, from `{"text", …}` or from one of `names`; then
/// `key=value`. A boolean stands for `on`, or for `off`, the word that switches it off.
fn directive(value: &Value, names: &[&str], off: &str) -> Result<Vec<String>, String> {
    let table = match value {
        Value::Boolean(true) => return Ok(vec!["on".into()]),
        Value::Boolean(false) => return Ok(vec![off.into()]),
        Value::Table(table) => table,
        other => return Ok(vec![word("value", other)?]),
    };
    let mut words = Vec::new();
    if let Ok(first @ Value::String(_)) = table.raw_get::<Value>(1) {
        words.push(word("1", &first)?);
    }
    for (key, value) in sorted(table)? {
        if words.is_empty() && names.contains(&key.as_str()) {
            words.insert(0, word(&key, &value)?);
        } else if let ("header" | "headers", Value::Table(list)) = (key.as_str(), &value) {
            for line in list.sequence_values::<Value>().flatten() {
                words.push(format!("header={}", word(&key, &line)?));
            }
        } else {
            words.push(format!("{key}={}", word(&key, &value)?));
        }
    }
    // The name may come after other keys in order of the alphabet.
    if let Some(at) =
        names.iter().find_map(|name| words.iter().position(|word| word.starts_with(&format!("{name}="))))
    {
        let named = words.remove(at);
        words.insert(0, named.split_once('=').map(|(_, value)| value.to_owned()).unwrap_or_default());
    }
    if words.first().is_none_or(|first| first.contains('=')) {
        words.insert(0, "on".into());
    }
    Ok(words)
}

/// `"file:PATH"`, `{source = "file:PATH", …}`, or a list of these: the words of each directive.
fn sources(value: &Value) -> Result<Vec<Vec<String>>, String> {
    const EXPECTED: &str = "discovery: expected a source such as \"file:/etc/lb/app.json\"";
    let table = match value {
        Value::Table(table) => table,
        other => return Ok(vec![vec![word("discovery", other)?]]),
    };
    let is_one = table.contains_key("source").unwrap_or(false)
        || matches!(table.raw_get::<Value>(1), Ok(Value::String(_))) && table.raw_len() == 1;
    if is_one {
        let words = directive(value, &["source"], "")?;
        let is_source = words.first().is_some_and(|first| first.contains(':'));
        return if is_source { Ok(vec![words]) } else { Err(EXPECTED.to_owned()) };
    }
    let mut all = Vec::new();
    for one in table.sequence_values::<Value>().flatten() {
        match one {
            Value::Table(ref inner) if inner.contains_key("source").unwrap_or(false) => {
                all.extend(sources(&one)?);
            }
            Value::String(_) => all.push(vec![word("discovery", &one)?]),
            _ => return Err(EXPECTED.to_owned()),
        }
    }
    if all.is_empty() { Err(EXPECTED.to_owned()) } else { Ok(all) }
}

/// `"COOKIE"` or `{cookie = …}`.
fn sticky(value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::Table(table) => {
            sorted(table)?.iter().map(|(key, value)| Ok(format!("{key}={}", word(key, value)?))).collect()
        }
        other => Ok(vec![format!("cookie={}", word("sticky", other)?)]),
    }
}

/// Named entries in order of the alphabet.
fn sorted(table: &Table) -> Result<Vec<(String, Value)>, String> {
    let mut all = Vec::new();
    for pair in table.pairs::<Value, Value>() {
        match pair.map_err(|error| error.to_string())? {
            (Value::String(key), value) => all.push((key.to_string_lossy(), value)),
            (Value::Integer(_), _) => {}
            (other, _) => return Err(format!("a key is a {}, expected a name", other.type_name())),
        }
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(all)
}

/// Longest value of a definition, in bytes.
const MAX_WORD: usize = 8192;

/// A value as a directive would have it; a list is joined by commas.
fn word(key: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) if text.as_bytes().len() > MAX_WORD => {
            Err(format!("{key}: longer than {MAX_WORD} bytes"))
        }
        Value::String(text) => Ok(text.to_string_lossy()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Boolean(true) => Ok("on".into()),
        Value::Boolean(false) => Ok("off".into()),
        Value::Table(list) if list.raw_len() > 0 => {
            let mut joined = String::new();
            for value in list.sequence_values::<Value>().flatten() {
                if matches!(value, Value::Table(_)) {
                    return Err(format!("{key}: found a list in a list"));
                }
                if !joined.is_empty() {
                    joined.push(',');
                }
                joined.push_str(&word(key, &value)?);
                if joined.len() > MAX_WORD {
                    return Err(format!("{key}: longer than {MAX_WORD} bytes"));
                }
            }
            Ok(joined)
        }
        other => Err(format!("{key}: expected text, a number, true or false, found a {}", other.type_name())),
    }
}
