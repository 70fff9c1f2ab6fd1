// SPDX-License-Identifier: Apache-2.0
//! The least that an answer has to have: something else that speaks JSON is not taken for a server
//! without pools.

use serde_json::Value;

/// Why a document cannot be the answer to this question. Keys that only newer servers have may be
/// missing.
pub fn wrong(method: &str, path: &str, answer: &Value) -> Option<String> {
    let path = path.split('?').next().unwrap_or_default();
    let parts: Vec<&str> = path.trim_start_matches("/api/v1/").split('/').collect();
    match (method, parts.as_slice()) {
        ("DELETE", _) => None,
        (_, ["pools"]) => list(answer, "pools", &["name"])
            .or_else(|| all(answer, "pools").find_map(|pool| list(pool, "members", &["name", "pool"]))),
        (_, ["pools", _] | ["pools", _, "members"] | ["pools", _, "members", _]) => texts(answer, &["name"]),
        (_, ["status"]) => texts(answer, &["version"]),
        (_, ["events"]) => {
            list(answer, "events", &["kind"]).or_else(|| (!answer["next"].is_u64()).then(|| has_no("next")))
        }
        (_, ["scripts"]) => list(answer, "scripts", &["name"]),
        (_, ["discovery"]) => list(answer, "discovery", &["pool", "source"]),
        (_, ["decisions"]) => list(answer, "decisions", &[]),
        (_, ["batch"]) => match answer.as_array() {
            Some(answers) if answers.iter().all(|one| one["status"].is_u64()) => None,
            Some(_) => Some(has_no("status")),
            None => Some(format!("{}, expected a list", kind(answer))),
        },
        (_, ["state"]) => match answer.get("path") {
            Some(Value::Null | Value::String(_)) => None,
            _ => texts(answer, &["path"]),
        },
        _ => texts(answer, &[]),
    }
}

fn has_no(key: &str) -> String {
    format!("an object without \"{key}\"")
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn all<'v>(object: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    object.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// Whether it is an object with these texts.
fn texts(value: &Value, keys: &[&str]) -> Option<String> {
    if !value.is_object() {
        return Some(format!("{}, expected an object", kind(value)));
    }
    keys.iter().find(|key| !value[**key].is_string()).map(|key| has_no(key))
}

/// Whether it is an object with a list of objects that have these texts.
fn list(value: &Value, key: &str, texts_of_each: &[&str]) -> Option<String> {
    if let Some(wrong) = texts(value, &[]) {
        return Some(wrong);
    }
    match &value[key] {
        Value::Array(list) => list.iter().find_map(|one| texts(one, texts_of_each)),
        Value::Null => Some(has_no(key)),
        other => Some(format!("{} as \"{key}\", expected a list", kind(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::wrong;

    #[test]
    fn answers_of_other_shapes_are_none() {
        for (method, path, answer, expected) in [
            ("GET", "/api/v1/pools", "{}", Some("an object without \"pools\"")),
            ("GET", "/api/v1/pools", "[]", Some("a list, expected an object")),
            ("GET", "/api/v1/pools", r#"{"pools":{}}"#, Some("an object as \"pools\", expected a list")),
            ("GET", "/api/v1/pools", r#"{"pools":[7]}"#, Some("a number, expected an object")),
            ("GET", "/api/v1/pools", r#"{"pools":[{"name":"a"}]}"#, Some("an object without \"members\"")),
            ("GET", "/api/v1/pools", r#"{"pools":[{"name":"a","members":[]}]}"#, None),
            ("GET", "/api/v1/pools?x=1", r#"{"pools":[]}"#, None),
            ("GET", "/api/v1/events?since=1", r#"{"events":[]}"#, Some("an object without \"next\"")),
            ("GET", "/api/v1/state", r#"{"path":null}"#, None),
            ("GET", "/api/v1/state", "{}", Some("an object without \"path\"")),
            ("PATCH", "/api/v1/pools/a/members/b", "{}", Some("an object without \"name\"")),
            ("DELETE", "/api/v1/pools/a/members/b", "null", None),
            ("POST", "/api/v1/batch", r#"[{"status":200}]"#, None),
            ("POST", "/api/v1/batch", r#"[{}]"#, Some("an object without \"status\"")),
            ("POST", "/api/v1/explain", "\"x\"", Some("a text, expected an object")),
        ] {
            let answer = serde_json::from_str(answer).unwrap();
            assert_eq!(wrong(method, path, &answer).as_deref(), expected, "{method} {path} {answer}");
        }
    }
}
