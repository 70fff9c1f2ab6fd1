// SPDX-License-Identifier: Apache-2.0
//! `POST /api/v1/explain` names the member that the next request gets, and moves nothing; whatever
//! the scripts do that it asks.

mod attacked;
mod same;

use serde_json::{Value, json};
use server_tests::{Httpd, Request, Response};

/// Explains a request at the socket.
pub fn ask(httpd: &Httpd, described: &Value) -> Response {
    httpd.socket().send(&request(described))
}

fn request(described: &Value) -> Request {
    Request::json("POST", "/api/v1/explain", described.to_string())
}

/// The explanation of a request.
pub fn explained(httpd: &Httpd, described: &Value) -> Value {
    let answer = ask(httpd, described);
    assert_eq!(answer.status, 200, "{described}: {}\n{}", answer.text(), httpd.error_log());
    serde_json::from_str(&answer.text()).expect("JSON")
}

/// The member that would be asked, or the status that is answered otherwise.
pub fn who(document: &Value) -> String {
    let decision = &document["decision"];
    match (decision["member"].as_str(), decision["status"].as_u64()) {
        (Some(member), _) => member.to_owned(),
        (None, Some(status)) => status.to_string(),
        (None, None) => "404".to_owned(),
    }
}

/// A GET of this path.
pub fn get(path: &str) -> Value {
    json!({ "uri": path })
}
