// SPDX-License-Identifier: Apache-2.0
//! Names that `ngx` has as plain values, and those that it lacks here.

use mlua::{Lua, Table, Value};

/// Results, log levels, statuses, and methods as bits. As Lua strings all of them would take some
/// KiB of every state.
const NUMBERS: [(&str, i64); 63] = [
    ("OK", 0),
    ("ERROR", -1),
    ("AGAIN", -2),
    ("DONE", -4),
    ("DECLINED", -5),
    ("STDERR", 0),
    ("EMERG", 1),
    ("ALERT", 2),
    ("CRIT", 3),
    ("ERR", 4),
    ("WARN", 5),
    ("NOTICE", 6),
    ("INFO", 7),
    ("DEBUG", 8),
    ("HTTP_OK", 200),
    ("HTTP_CREATED", 201),
    ("HTTP_ACCEPTED", 202),
    ("HTTP_NO_CONTENT", 204),
    ("HTTP_PARTIAL_CONTENT", 206),
    ("HTTP_SPECIAL_RESPONSE", 300),
    ("HTTP_MOVED_PERMANENTLY", 301),
    ("HTTP_MOVED_TEMPORARILY", 302),
    ("HTTP_SEE_OTHER", 303),
    ("HTTP_NOT_MODIFIED", 304),
    ("HTTP_TEMPORARY_REDIRECT", 307),
    ("HTTP_PERMANENT_REDIRECT", 308),
    ("HTTP_BAD_REQUEST", 400),
    ("HTTP_UNAUTHORIZED", 401),
    ("HTTP_PAYMENT_REQUIRED", 402),
    ("HTTP_FORBIDDEN", 403),
    ("HTTP_NOT_FOUND", 404),
    ("HTTP_NOT_ALLOWED", 405),
    ("HTTP_NOT_ACCEPTABLE", 406),
    ("HTTP_REQUEST_TIMEOUT", 408),
    ("HTTP_CONFLICT", 409),
    ("HTTP_GONE", 410),
    ("HTTP_UPGRADE_REQUIRED", 426),
    ("HTTP_TOO_MANY_REQUESTS", 429),
    ("HTTP_CLOSE", 444),
    ("HTTP_ILLEGAL", 451),
    ("HTTP_INTERNAL_SERVER_ERROR", 500),
    ("HTTP_NOT_IMPLEMENTED", 501),
    ("HTTP_METHOD_NOT_IMPLEMENTED", 501),
    ("HTTP_BAD_GATEWAY", 502),
    ("HTTP_SERVICE_UNAVAILABLE", 503),
    ("HTTP_GATEWAY_TIMEOUT", 504),
    ("HTTP_VERSION_NOT_SUPPORTED", 505),
    ("HTTP_INSUFFICIENT_STORAGE", 507),
    ("HTTP_GET", 2),
    ("HTTP_HEAD", 4),
    ("HTTP_POST", 8),
    ("HTTP_PUT", 16),
    ("HTTP_DELETE", 32),
    ("HTTP_MKCOL", 64),
    ("HTTP_COPY", 128),
    ("HTTP_MOVE", 256),
    ("HTTP_OPTIONS", 512),
    ("HTTP_PROPFIND", 1024),
    ("HTTP_PROPPATCH", 2048),
    ("HTTP_LOCK", 4096),
    ("HTTP_UNLOCK", 8192),
    ("HTTP_PATCH", 16384),
    ("HTTP_TRACE", 32768),
];

/// Names that a script that chooses a backend cannot have, and what to use instead.
const INSTEAD: [(&str, &str); 15] = [
    ("sleep", "a request's thread must not sleep; queue= lets requests wait, ngx.timer.at runs later"),
    ("exec", "use httpd's RewriteRule, or ngx.req.set_uri"),
    ("thread", "use ngx.timer.at, or lb.http in timers"),
    ("socket", "use require \"socket\" in timers and checks"),
    ("location", "there are no sub-requests here; use lb.http in timers"),
    ("semaphore", "use lb.dict"),
    ("hmac_sha1", "use ngx.sha1_bin or lb.hash"),
    ("crc32c", "use ngx.crc32_short"),
    ("parse_http_time", "use os.time with the parts of the date"),
    ("quote_sql_str", "there is no database here"),
    ("on_abort", "use LuaHookFinish"),
    ("arg", "bodies are the backend's; use httpd's filters"),
    ("is_subrequest", "use r.is_initial_req"),
    ("headers_sent", "a script runs before the answer's headers"),
    ("get_raw_phases", "use ngx.get_phase()"),
];

/// Nothing, or the error for a name of OpenResty's that is left out.
fn instead(_: &Lua, name: Value) -> mlua::Result<()> {
    let Value::String(name) = name else { return Ok(()) };
    match INSTEAD.iter().find(|(known, _)| *name.as_bytes() == *known.as_bytes()) {
        Some((name, words)) => {
            Err(mlua::Error::runtime(format!("ngx.{name} is not available here: {words}")))
        }
        None => Ok(()),
    }
}

/// `number(name)` and `instead(name)`.
pub(super) fn install(lua: &Lua, table: &Table) -> mlua::Result<()> {
    let number = |_: &Lua, name: Value| {
        let Value::String(name) = name else { return Ok(None) };
        Ok(NUMBERS.iter().find(|(known, _)| *name.as_bytes() == *known.as_bytes()).map(|(_, number)| *number))
    };
    table.raw_set("number", lua.create_function(number)?)?;
    table.raw_set("instead", lua.create_function(instead)?)
}
