//! `key=`: what the methods that hash a request take for it.

use std::borrow::Cow;

use balance::settings::PoolSettings;

use crate::httpd::log;
use crate::httpd::request::Request;
use crate::serve::child::{self, Child};

/// The key of a pool's hash methods for this request; empty when there is none.
pub fn of_pool<'r>(request: Request<'r>, child: &Child, settings: &PoolSettings) -> Cow<'r, [u8]> {
    let Some(key) = &settings.key else { return Cow::Borrowed(b"") };
    of_expression(request, Some(child), key).unwrap_or_else(|error| {
        log::request(request, log::ERR, &format!("key=\"{key}\": {error}"));
        Cow::Borrowed(b"")
    })
}

/// The value of a `key=` for this request.
pub fn text<'r>(request: Request<'r>, key: &str) -> Result<Cow<'r, [u8]>, String> {
    of_expression(request, child::get(), key)
}

fn of_expression<'r>(
    request: Request<'r>,
    child: Option<&Child>,
    key: &str,
) -> Result<Cow<'r, [u8]>, String> {
    match child.and_then(|child| child.expression(key)) {
        Some(expression) => request.string_expression(expression).map(Cow::Borrowed),
        None => Ok(Cow::Owned(key.to_owned().into_bytes())),
    }
}
