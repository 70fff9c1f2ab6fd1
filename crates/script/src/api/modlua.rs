// SPDX-License-Identifier: Apache-2.0
//! The parts of mod_lua's request object that a choice does not need: each is made when a script
//! asks for it. Names that are missing here say what to use instead.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::rc::Rc;

use mlua::{Lua, LuaString, MultiValue, Table, Value, Variadic};

use super::arguments::{handy, short};
use crate::context::Context;
use crate::limits::frame::Phase;
use crate::strings::text;

/// Names of mod_lua that make no sense in a script that chooses a backend, and what does.
const INSTEAD: [(&str, &str); 42] = [
    ("sendfile", "return nil, or set r.filename and return apache2.DECLINED, and httpd serves the file"),
    (
        "usleep",
        "a request's thread must not sleep; queue= lets requests wait, lb.after and lb.every run later",
    ),
    ("add_output_filter", "use the directive SetOutputFilter"),
    ("add_input_filter", "use the directive SetInputFilter"),
    ("send_interim_response", "the backend's own interim responses are passed on"),
    ("set_keepalive", "use the directive KeepAlive"),
    ("make_etag", "set r.headers_out[\"ETag\"]"),
    ("set_document_root", "set r.filename"),
    ("set_context_info", "use the directive Alias"),
    ("dbacquire", "use lb.dict, or ask the database in a timer (lb.every)"),
    ("htpassword", "use the program htpasswd"),
    ("get_direntries", "list the folder in a timer (lb.every) with LuaBalancerSandbox off"),
    ("touch", "write files in a timer (lb.every) with LuaBalancerSandbox off"),
    ("mkdir", "make folders outside of requests"),
    ("mkrdir", "make folders outside of requests"),
    ("rmdir", "remove folders outside of requests"),
    ("scoreboard_process", "use pool.inflight, or the page of mod_status"),
    ("scoreboard_worker", "use pool.inflight, or the page of mod_status"),
    ("config", "use the page of mod_info"),
    ("activeconfig", "use the page of mod_info"),
    ("module_info", "use the page of mod_info"),
    ("loaded_modules", "use the page of mod_info"),
    ("server_info", "use the page of mod_info"),
    ("mpm_query", "use ngx.worker.count(), or the page of mod_status"),
    ("state_query", "a script has no use for httpd's own state"),
    ("runtime_dir_relative", "write the path"),
    ("date_parse_rfc", "use os.time with the parts of the date"),
    ("get_server_name_for_url", "use r.server_name and r.port, or r:construct_url(path)"),
    ("wsupgrade", "return a member with upgrade=websocket, and mod_proxy tunnels"),
    ("wsread", "return a member with upgrade=websocket, and mod_proxy tunnels"),
    ("wswrite", "return a member with upgrade=websocket, and mod_proxy tunnels"),
    ("wspeek", "return a member with upgrade=websocket, and mod_proxy tunnels"),
    ("wsping", "return a member with upgrade=websocket, and mod_proxy tunnels"),
    ("wsclose", "return a member with upgrade=websocket, and mod_proxy tunnels"),
    ("allowoverrides", "a script has no use for AllowOverride"),
    ("options", "a script has no use for Options"),
    ("assbackwards", "compare r.protocol with \"HTTP/0.9\""),
    ("some_auth_required", "look whether r.user is set, in LuaHookSelect"),
    ("limit_req_body", "use the directive LimitRequestBody"),
    ("remaining", "use r.headers_in[\"Content-Length\"]"),
    ("content_encoding", "use r.headers_in[\"Content-Encoding\"]"),
    ("server_built", "use r.banner"),
];

/// Where a page can be written.
const PAGE: &str = "write a page in LuaHookTranslate or LuaHookSelect, and return apache2.OK or apache2.DONE";

/// The method or field of this name. None: mod_lua has none either.
pub(super) fn named(lua: &Lua, ctx: &Rc<Context>, name: &[u8]) -> mlua::Result<Option<Value>> {
    let own = ctx.clone();
    let function = match name {
        b"puts" => lua.create_function(move |_, (_, texts): (Value, Variadic<LuaString>)| {
            texts.iter().try_for_each(|text| write(&own, "r:puts", &text.as_bytes()))
        })?,
        b"write" => lua.create_function(move |_, (_, text): (Value, LuaString)| {
            write(&own, "r:write", &text.as_bytes()).map(|()| text.as_bytes().len())
        })?,
        b"flush" => lua.create_function(|_, _: MultiValue| Ok(true))?,
        b"custom_response" => lua.create_function(move |_, (_, status, text): (Value, i64, LuaString)| {
            custom_response(&own, status, &text.as_bytes())
        })?,
        b"requestbody" => {
            lua.create_function(move |lua, (_, most): (Value, Value)| request_body(lua, &own, &most))?
        }
        b"stat" => {
            lua.create_function(move |lua, (_, path): (Value, LuaString)| stat(lua, &own, &path.as_bytes()))?
        }
        b"strcmp_match" => {
            lua.create_function(move |_, (text, pattern, icase): (LuaString, LuaString, Option<bool>)| {
                let go_on = || own.budget.check().is_ok();
                let found = matches(&text.as_bytes(), &pattern.as_bytes(), icase.unwrap_or(false), &go_on);
                own.budget.check().map_err(|halt| halt.raise())?;
                Ok(found.unwrap_or(false))
            })?
        }
        b"escape_logitem" => lua.create_function(|lua, (_, text): (Value, LuaString)| {
            lua.create_string(text::escape_logitem(handy(&text.as_bytes())?))
        })?,
        b"os_escape_path" => {
            lua.create_function(|lua, (_, text, part): (Value, LuaString, Option<bool>)| {
                lua.create_string(text::escape_path(handy(&text.as_bytes())?, part.unwrap_or(false)))
            })?
        }
        b"exists_config_define" => {
            lua.create_function(move |_, name: LuaString| Ok(own.server.is_defined(&short(&name)?)))?
        }
        _ => return instead(lua, name),
    };
    Ok(Some(Value::Function(function)))
}

/// A field raises when it is read, a method when it is called.
fn instead(lua: &Lua, name: &[u8]) -> mlua::Result<Option<Value>> {
    const FIELDS: [&str; 8] = [
        "allowoverrides",
        "options",
        "assbackwards",
        "some_auth_required",
        "limit_req_body",
        "remaining",
        "content_encoding",
        "server_built",
    ];
    let Some((name, words)) = INSTEAD.iter().find(|(known, _)| known.as_bytes() == name) else {
        return Ok(None);
    };
    let refuse = move || mlua::Error::runtime(format!("r.{name} is not available here: {words}"));
    if FIELDS.contains(name) {
        return Err(refuse());
    }
    let refuse = move |_: &Lua, _: MultiValue| Err::<(), _>(refuse());
    lua.create_function(refuse).map(|function| Some(Value::Function(function)))
}

/// Adds to the page that the script answers with.
pub(crate) fn write(ctx: &Context, name: &str, text: &[u8]) -> mlua::Result<()> {
    ctx.request()?;
    if !matches!(ctx.frame.get().phase, Phase::Translate | Phase::Select) {
        return Err(mlua::Error::runtime(format!("{name} is not available here: {PAGE}")));
    }
    ctx.spend(text.len())?;
    ctx.say(|said| said.page.get_or_insert_default().extend_from_slice(text));
    Ok(())
}

fn custom_response(ctx: &Context, status: i64, text: &[u8]) -> mlua::Result<()> {
    let request = ctx.request()?;
    let known = u16::try_from(status).ok().filter(|status| (300..=599).contains(status));
    let Some(status) = known else {
        return Err(mlua::Error::runtime(format!(
            "r:custom_response: expected a status from 300 to 599, found {status}"
        )));
    };
    ctx.spend(text.len())?;
    request.custom_response(status, text).map_err(mlua::Error::runtime)
}

/// The body that came with the request. It stays there for a handler that reads it after the
/// script.
fn request_body(lua: &Lua, ctx: &Context, most: &Value) -> mlua::Result<Value> {
    let room = (ctx.budget.limits.get().memory_bytes / 16).max(8192);
    let wanted = match most {
        Value::Nil => room,
        Value::Integer(most) if *most > 0 => usize::try_from(*most).unwrap_or(room).min(room),
        _ => {
            let text = "r:requestbody: expected a size; writing to a file is not possible here";
            return Err(mlua::Error::runtime(text));
        }
    };
    ctx.spend(wanted)?;
    let mut text = Ok(Value::Nil);
    ctx.request()?.body(wanted, &mut |body| {
        if let Some(body) = body {
            text = lua.create_string(body).map(Value::String);
        }
    });
    text
}

/// The facts about a file as mod_lua tells them: times in µs, APR's numbers for type and
/// protection.
fn stat(lua: &Lua, ctx: &Context, path: &[u8]) -> mlua::Result<Option<Table>> {
    ctx.request()?;
    ctx.budget.check().map_err(|halt| halt.raise())?;
    let Ok(file) = std::fs::metadata(OsStr::from_bytes(path)) else { return Ok(None) };
    let micros = |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000).saturating_add(nanos / 1000);
    let kind = file.file_type();
    let kinds = [
        (kind.is_file(), 1),
        (kind.is_dir(), 2),
        (kind.is_char_device(), 3),
        (kind.is_block_device(), 4),
        (kind.is_fifo(), 5),
        (kind.is_socket(), 7),
    ];
    let mode = file.mode();
    let table = lua.create_table_with_capacity(0, 6)?;
    table.raw_set("mtime", micros(file.mtime(), file.mtime_nsec()))?;
    table.raw_set("atime", micros(file.atime(), file.atime_nsec()))?;
    table.raw_set("ctime", micros(file.ctime(), file.ctime_nsec()))?;
    table.raw_set("size", file.size())?;
    table.raw_set("filetype", kinds.iter().find(|(is, _)| *is).map_or(127, |(_, number)| *number))?;
    table.raw_set("protection", (mode >> 6 & 7) << 8 | (mode >> 3 & 7) << 4 | mode & 7)?;
    Ok(Some(table))
}

/// httpd's patterns of `*` and `?`. None: `go_on`, asked now and then, said no.
fn matches(text: &[u8], pattern: &[u8], icase: bool, go_on: &dyn Fn() -> bool) -> Option<bool> {
    let same = |a: u8, b: u8| a == b || icase && a.eq_ignore_ascii_case(&b);
    let (mut at, mut in_pattern, mut steps) = (0, 0, 0_u32);
    // Where to go on when what follows the last star does not fit.
    let mut star: Option<(usize, usize)> = None;
    while at < text.len() {
        steps = steps.wrapping_add(1);
        if steps.is_multiple_of(4096) && !go_on() {
            return None;
        }
        match pattern.get(in_pattern) {
            Some(b'*') => {
                star = Some((in_pattern + 1, at));
                in_pattern += 1;
            }
            Some(byte) if *byte == b'?' || same(*byte, text[at]) => {
                at += 1;
                in_pattern += 1;
            }
            _ => {
                let Some((behind, from)) = star else { return Some(false) };
                star = Some((behind, from + 1));
                (in_pattern, at) = (behind, from + 1);
            }
        }
    }
    Some(pattern[in_pattern..].iter().all(|byte| *byte == b'*'))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_and_question_marks_match_as_httpd_has_it() {
        for (text, pattern, icase, expected) in [
            ("", "", false, true),
            ("", "*", false, true),
            ("a", "", false, false),
            ("abc", "a?c", false, true),
            ("abc", "A*", false, false),
            ("abc", "A*", true, true),
            ("aXbXc", "a*b*c", false, true),
            ("aXbXd", "a*b*c", false, false),
            ("mod_lua.c", "*.c", false, true),
        ] {
            let found = matches(text.as_bytes(), pattern.as_bytes(), icase, &|| true);
            assert_eq!(found, Some(expected), "{text} {pattern}");
        }
    }

    #[test]
    fn many_stars_can_be_stopped() {
        let (text, pattern) = ("a".repeat(10_000), "*".to_owned() + &"a".repeat(5000) + "b");
        assert_eq!(matches(text.as_bytes(), pattern.as_bytes(), false, &|| true), Some(false));
        assert_eq!(matches(text.as_bytes(), pattern.as_bytes(), false, &|| false), None);
    }
}
