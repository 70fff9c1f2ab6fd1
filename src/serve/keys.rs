// SPDX-License-Identifier: Apache-2.0
//! `key=`: the text that the methods which hash a request take for it.

use std::borrow::Cow;

use balance::settings::PoolSettings;

use crate::httpd::config::Expression;
use crate::httpd::log;
use crate::httpd::request::Request;

/// The expressions of all pools, parsed.
#[derive(Default)]
pub struct KeyExpressions(Vec<(String, Expression)>);

impl KeyExpressions {
    /// The expressions, by their text.
    pub fn new(expressions: Vec<(String, Expression)>) -> Self {
        KeyExpressions(expressions)
    }

    /// The key of a pool's hash methods for this request; empty when there is none.
    pub fn of_pool<'r>(&self, request: Request<'r>, settings: &PoolSettings) -> Cow<'r, [u8]> {
        let Some(key) = &settings.key else { return Cow::Borrowed(b"") };
        self.text(request, key).unwrap_or_else(|error| {
            log::request(request, messages::requests::KEY_FAILED, &format!("key=\"{key}\": {error}"));
            Cow::Borrowed(b"")
        })
    }

    /// The value of a `key=` for this request.
    pub fn text<'r>(&self, request: Request<'r>, key: &str) -> Result<Cow<'r, [u8]>, String> {
        match self.0.iter().find(|(known, _)| known == key) {
            Some((_, expression)) => request.string_expression(*expression).map(Cow::Borrowed),
            None => Ok(Cow::Owned(key.to_owned().into_bytes())),
        }
    }
}
