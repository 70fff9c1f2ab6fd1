// SPDX-License-Identifier: Apache-2.0
//! Everything that a script can reach is bounded: each function is in a list of how, and is driven
//! with hostile arguments. No call takes longer than twice its time, nor more than its memory and 4
//! MiB of the process.
#![allow(missing_docs, unsafe_code)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::World;
use script::host::Field;
use script::{Answer, Limits, Phase, State};

/// Counts what the process has allocated, Lua included.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST_HELD: AtomicUsize = AtomicUsize::new(0);

fn more(bytes: usize) {
    let held = HELD.fetch_add(bytes, Ordering::Relaxed) + bytes;
    MOST_HELD.fetch_max(held, Ordering::Relaxed);
}

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        more(size.saturating_sub(layout.size()));
        HELD.fetch_sub(layout.size().saturating_sub(size), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const LIMITS: Limits = Limits { time_ms: 10, memory_bytes: 16 << 20, timer_time_ms: 5000 };
/// What a call may take of the processor: twice its time, and some for a machine that is busy with
/// other things, on which the watch is late.
const MOST_TIME: Duration = Duration::from_millis(2 * 10 + 60);
/// What it may take of the memory, beside the 128 KiB that a state has before it knows a script.
const MOST_MEMORY: usize = ((16 + 4) << 20) + (128 << 10);
/// A call that took too long has been hit by others' work if it does not the next time.
const ATTEMPTS: u32 = 4;

const MODULES: [&str; 21] = [
    "apache2",
    "ngx",
    "ngx.balancer",
    "resty.chash",
    "resty.roundrobin",
    "resty.swrr",
    "cjson",
    "cjson.safe",
    "bit",
    "socket",
    "socket.http",
    "ltn12",
    "resty.dns.resolver",
    "resty.lock",
    "resty.lrucache",
    "table.clear",
    "table.clone",
    "table.isarray",
    "table.isempty",
    "table.new",
    "table.nkeys",
];
const OBJECTS: [&str; 23] = [
    "lb.pool('app')",
    "lb.pool('app'):first()",
    "lb.pool('app'):members()",
    "lb.dict('d')",
    "ngx.shared.d",
    "r.puts",
    "r.write",
    "r.flush",
    "r.custom_response",
    "r.requestbody",
    "r.stat",
    "r.strcmp_match",
    "r.escape_logitem",
    "r.os_escape_path",
    "r.exists_config_define",
    "require('resty.lrucache').new(2)",
    "require('resty.lock'):new('d')",
    "require('ngx').md5",
    "require('ngx').re.find",
    "require('ngx').re.gmatch",
    "require('ngx').re.gsub",
    "require('ngx').re.match",
    "require('ngx').re.sub",
];
/// What there is in timers and checks besides.
const OF_JOBS: [&str; 1] = ["require('socket').tcp()"];

/// How each function is bounded.
const HOW: &[(&str, &[&str])] = &[
    (
        // A few steps, whatever it is given.
        "plain",
        &[
            "__index",
            "assert",
            "coroutine.__newindex",
            "coroutine.__pairs",
            "math.__pairs",
            "os.__pairs",
            "package.__newindex",
            "string.__pairs",
            "table.__pairs",
            "utf8.__pairs",
            "require('socket').__newindex",
            "require('socket').__pairs",
            "collectgarbage",
            "error",
            "getmetatable",
            "lb.after",
            "lb.every",
            "lb.http",
            "lb.now",
            "lb.pools",
            "lb.tcp",
            "lb.time",
            "math.abs",
            "math.acos",
            "math.asin",
            "math.atan",
            "math.ceil",
            "math.cos",
            "math.cosh",
            "math.deg",
            "math.exp",
            "math.floor",
            "math.frexp",
            "math.ldexp",
            "math.log",
            "math.log10",
            "math.fmod",
            "math.modf",
            "math.pow",
            "math.rad",
            "math.random",
            "math.randomseed",
            "math.sin",
            "math.sinh",
            "math.sqrt",
            "math.tan",
            "math.tanh",
            "math.tointeger",
            "math.type",
            "math.ult",
            "coroutine.__newindex",
            "coroutine.__pairs",
            "math.__pairs",
            "os.__pairs",
            "package.__newindex",
            "string.__pairs",
            "table.__pairs",
            "utf8.__pairs",
            "r.flush",
            "r.stat",
            "r.escape_logitem",
            "r.os_escape_path",
            "r.exists_config_define",
            "require('ltn12').sink.__index",
            "require('ltn12').sink.__newindex",
            "require('ltn12').sink.null",
            "require('ltn12').sink.table",
            "require('ltn12').source.__index",
            "require('ltn12').source.__newindex",
            "require('ltn12').source.empty",
            "require('ltn12').source.string",
            "require('ngx').cookie_time",
            "require('ngx').http_time",
            "require('ngx').re.__index",
            "require('ngx').worker.count",
            "require('resty.dns.resolver').new",
            "require('resty.dns.resolver').query",
            "require('resty.dns.resolver').set_timeout",
            "require('socket.http').request",
            "require('table.new')",
            "os.clock",
            "os.difftime",
            "os.time",
            "rawequal",
            "rawget",
            "rawlen",
            "rawset",
            "select",
            "setmetatable",
            "tonumber",
            "type",
            "lb.pool('app').__index",
            "lb.pool('app').__len",
            "lb.pool('app').__newindex",
            "lb.pool('app').__tostring",
            "lb.pool('app').consistent_hash",
            "lb.pool('app').first",
            "lb.pool('app').hash",
            "lb.pool('app').least_connections",
            "lb.pool('app').least_latency",
            "lb.pool('app').maglev",
            "lb.pool('app').members",
            "lb.pool('app').pick",
            "lb.pool('app').power_of_two",
            "lb.pool('app').random",
            "lb.pool('app').rendezvous",
            "lb.pool('app').round_robin",
            "lb.pool('app').sticky",
            "lb.pool('app'):first().__index",
            "lb.pool('app'):first().__newindex",
            "lb.pool('app'):first().__tostring",
            "lb.pool('app'):first().disable",
            "lb.pool('app'):first().drain",
            "lb.pool('app'):first().enable",
            "lb.pool('app'):first().set_weight",
            "lb.pool('app'):members()",
            "r.__index",
            "r.clock",
            "r.getcookie",
            "require('apache2').__newindex",
            "require('apache2').__pairs",
            "require('bit').arshift",
            "require('bit').bnot",
            "require('bit').bswap",
            "require('bit').lshift",
            "require('bit').rol",
            "require('bit').ror",
            "require('bit').rshift",
            "require('bit').tobit",
            "require('bit').tohex",
            "require('ngx').__index",
            "require('ngx').__newindex",
            "require('ngx').config.__newindex",
            "require('ngx').eof",
            "require('ngx').exit",
            "require('ngx').flush",
            "require('ngx').get_phase",
            "require('ngx').header.__index",
            "require('ngx').header.__newindex",
            "require('ngx').localtime",
            "require('ngx').now",
            "require('ngx').print",
            "require('ngx').req.__newindex",
            "require('ngx').req.clear_header",
            "require('ngx').req.get_method",
            "require('ngx').req.http_version",
            "require('ngx').req.is_internal",
            "require('ngx').req.set_header",
            "require('ngx').req.start_time",
            "require('ngx').resp.__newindex",
            "require('ngx').say",
            "require('ngx').shared.__index",
            "require('ngx').shared.__newindex",
            "require('ngx').time",
            "require('ngx').timer.__newindex",
            "require('ngx').timer.at",
            "require('ngx').timer.every",
            "require('ngx').today",
            "require('ngx').update_time",
            "require('ngx').utctime",
            "require('ngx').var.__index",
            "require('ngx').var.__newindex",
            "require('ngx').worker.__newindex",
            "require('ngx').worker.exiting",
            "require('ngx').worker.id",
            "require('ngx').worker.pid",
            "require('ngx.balancer').enable_keepalive",
            "require('ngx.balancer').get_last_failure",
            "require('ngx.balancer').recreate_request",
            "require('ngx.balancer').set_more_tries",
            "require('ngx.balancer').set_timeouts",
            "require('ngx.balancer').set_upstream_tls",
            "require('socket').gettime",
            "require('socket').tcp",
            "require('socket').tcp().close",
            "require('socket').tcp().connect",
            "require('socket').tcp().receive",
            "require('socket').tcp().send",
            "require('socket').tcp().settimeout",
        ],
    ),
    (
        // A time in proportion to a text of Lua's memory.
        "linear",
        &[
            "lb.hash",
            "string.byte",
            "string.len",
            "string.lower",
            "string.rep",
            "string.reverse",
            "string.sub",
            "string.upper",
            "utf8.codepoint",
            "utf8.codes",
            "utf8.len",
            "utf8.offset",
            "r.md5",
            "r.sha1",
            "require('ngx').crc32_long",
            "require('ngx').md5",
            "require('ngx').md5_bin",
            "require('ngx').sha1_bin",
        ],
    ),
    (
        // So many arguments, and so much text in them.
        "arguments",
        &[
            "lb.log",
            "math.max",
            "math.min",
            "os.date",
            "print",
            "string.char",
            "string.format",
            "string.pack",
            "string.packsize",
            "string.unpack",
            "utf8.char",
            "require('bit').band",
            "require('bit').bor",
            "require('bit').bxor",
        ],
    ),
    (
        // Steps of a search are counted, or are few by the pattern.
        "steps",
        &["string.find", "string.gfind", "string.gsub", "string.match"],
    ),
    (
        // In Lua, or in pieces of a size.
        "pieces",
        &[
            "load",
            "table.concat",
            "table.getn",
            "table.insert",
            "table.maxn",
            "table.move",
            "table.pack",
            "table.remove",
            "table.sort",
            "unpack",
        ],
    ),
    (
        // Calls functions or runs in Lua, where the hook ends it.
        "hook",
        &[
            "coroutine.close",
            "coroutine.create",
            "coroutine.isyieldable",
            "coroutine.resume",
            "coroutine.running",
            "coroutine.status",
            "coroutine.wrap",
            "coroutine.yield",
            "f",
            "ipairs",
            "next",
            "pairs",
            "pcall",
            "require",
            "tostring",
            "xpcall",
            "require('ngx').encode_args",
            "require('ngx').re.__newindex",
            "require('ngx').req.get_headers",
            "require('ngx').resp.get_headers",
            "require('resty.chash').decr",
            "require('resty.chash').delete",
            "require('resty.chash').find",
            "require('resty.chash').incr",
            "require('resty.chash').new",
            "require('resty.chash').next",
            "require('resty.chash').reinit",
            "require('resty.chash').set",
            "require('resty.roundrobin').decr",
            "require('resty.roundrobin').delete",
            "require('resty.roundrobin').incr",
            "require('resty.roundrobin').new",
            "require('resty.roundrobin').find",
            "require('resty.roundrobin').reinit",
            "require('resty.roundrobin').set",
            "require('resty.swrr').decr",
            "require('resty.swrr').delete",
            "require('resty.swrr').incr",
            "require('resty.swrr').new",
            "require('resty.swrr').find",
            "require('resty.swrr').reinit",
            "require('resty.swrr').set",
            "require('ltn12').pump.all",
            "require('ngx').re.find",
            "require('ngx').re.gmatch",
            "require('ngx').re.gsub",
            "require('ngx').re.match",
            "require('ngx').re.sub",
            "require('resty.lock'):new('d').expire",
            "require('resty.lock'):new('d').lock",
            "require('resty.lock'):new('d').new",
            "require('resty.lock'):new('d').unlock",
            "require('resty.lrucache').new(2).capacity",
            "require('resty.lrucache').new(2).count",
            "require('resty.lrucache').new(2).delete",
            "require('resty.lrucache').new(2).flush_all",
            "require('resty.lrucache').new(2).get",
            "require('resty.lrucache').new(2).get_keys",
            "require('resty.lrucache').new(2).new",
            "require('resty.lrucache').new(2).set",
            "require('table.clear')",
            "require('table.clone')",
            "require('table.isarray')",
            "require('table.isempty')",
            "require('table.nkeys')",
        ],
    ),
    (
        // A native function that looks at the clock.
        "clock",
        &[
            "r.ivm_get",
            "r.ivm_set",
            "r.parseargs",
            "r.parsebody",
            "r.strcmp_match",
            "require('cjson').decode",
            "require('cjson').encode",
            "require('cjson.safe').decode",
            "require('cjson.safe').encode",
            "require('ngx').decode_args",
            "require('ngx').req.get_uri_args",
        ],
    ),
    (
        // Longer or more is refused.
        "size",
        &[
            "lb.define_pool",
            "lb.dict",
            "lb.geo",
            "lb.pool",
            "lb.dict('d').add",
            "lb.dict('d').clear",
            "lb.dict('d').delete",
            "lb.dict('d').expire",
            "lb.dict('d').get",
            "lb.dict('d').get_stale",
            "lb.dict('d').incr",
            "lb.dict('d').keys",
            "lb.dict('d').purge",
            "lb.dict('d').replace",
            "lb.dict('d').room",
            "lb.dict('d').safe_add",
            "lb.dict('d').safe_set",
            "lb.dict('d').set",
            "lb.dict('d').ttl",
            "lb.pool('app').add",
            "lb.pool('app').except",
            "lb.pool('app').member",
            "lb.pool('app').only",
            "lb.pool('app').remove",
            "lb.pool('app').where",
            "ngx.shared.d.__newindex",
            "ngx.shared.d.add",
            "ngx.shared.d.capacity",
            "ngx.shared.d.delete",
            "ngx.shared.d.expire",
            "ngx.shared.d.flush_all",
            "ngx.shared.d.flush_expired",
            "ngx.shared.d.free_space",
            "ngx.shared.d.get",
            "ngx.shared.d.get_keys",
            "ngx.shared.d.get_stale",
            "ngx.shared.d.incr",
            "ngx.shared.d.replace",
            "ngx.shared.d.safe_add",
            "ngx.shared.d.safe_set",
            "ngx.shared.d.set",
            "ngx.shared.d.ttl",
            "r.base64_decode",
            "r.base64_encode",
            "r.construct_url",
            "r.escape",
            "r.escape_html",
            "r.expr",
            "r.regex",
            "r.setcookie",
            "r.ssl_var_lookup",
            "r.unescape",
            "require('ngx').decode_base64",
            "require('ngx').encode_base64",
            "require('ngx').escape_uri",
            "require('ngx').redirect",
            "require('ngx').req.set_uri",
            "require('ngx').req.set_uri_args",
            "require('ngx').unescape_uri",
            "require('ngx.balancer').set_current_peer",
        ],
    ),
    (
        // Lines for the log, which are counted.
        "lines",
        &[
            "r.alert",
            "r.crit",
            "r.debug",
            "r.emerg",
            "r.err",
            "r.info",
            "r.notice",
            "r.trace1",
            "r.trace2",
            "r.trace3",
            "r.trace4",
            "r.trace5",
            "r.trace6",
            "r.trace7",
            "r.trace8",
            "r.warn",
            "require('ngx').log",
        ],
    ),
    (
        // Bytes outside of the memory of Lua, which are counted.
        "outside",
        &[
            "r.__newindex",
            "r.err_headers_out.set",
            "r.err_headers_out.__pairs",
            "r.err_headers_out.get",
            "r.err_headers_out_table",
            "r.custom_response",
            "r.puts",
            "r.requestbody",
            "r.write",
            "r.headers_in.set",
            "r.headers_in.__pairs",
            "r.headers_in.get",
            "r.headers_in_table",
            "r.headers_out.set",
            "r.headers_out.__pairs",
            "r.headers_out.get",
            "r.headers_out_table",
            "r.notes.set",
            "r.notes.__pairs",
            "r.notes.get",
            "r.notes_table",
            "r.subprocess_env.set",
            "r.subprocess_env.__pairs",
            "r.subprocess_env.get",
            "r.subprocess_env_table",
        ],
    ),
];

fn kinds() -> impl Iterator<Item = (&'static str, &'static str)> {
    HOW.iter().flat_map(|(kind, names)| names.iter().map(|name| (*kind, *name)))
}

fn names() -> impl Iterator<Item = &'static str> {
    kinds().map(|(_, name)| name)
}

#[test]
fn every_function_within_reach_is_in_the_list_of_how_it_is_bounded() {
    let world = World::new("function f(r) return 204 end", "f");
    let state = world.started();
    let mut reachable = state.reachable(world.id, &MODULES, &OBJECTS).unwrap();
    reachable.extend(world.background().reachable(world.id, &["socket"], &OF_JOBS).unwrap());
    let new: Vec<_> = reachable.iter().filter(|name| !names().any(|known| known == *name)).collect();
    let gone: Vec<_> = names().filter(|name| !reachable.iter().any(|there| there == name)).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "nobody has said how these are bounded: {new:?}; these are within reach no more: {gone:?}"
    );
}

fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure is of this frame.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

struct Driven {
    world: World,
    state: State,
}

impl Driven {
    fn new(text: &str) -> Driven {
        let world = World::with(text, &["f"], |builder| builder.limits(LIMITS));
        world.take().unwrap();
        let state = world.state();
        world.balancer.quiet.set(true);
        Driven { world, state }
    }

    /// What is wrong with a call, if anything.
    fn fault(&self) -> Option<String> {
        let held = HELD.load(Ordering::Relaxed);
        MOST_HELD.store(held, Ordering::Relaxed);
        // What Lua holds already counts as the call's.
        let others = held.saturating_sub(self.state.used_memory());
        let start = processor_time();
        let result = self.state.select(self.world.id, "f", Phase::Translate);
        let took = processor_time() - start;
        let grown = MOST_HELD.load(Ordering::Relaxed).saturating_sub(others);
        let said = match &result {
            Ok(_) => "ended well".to_owned(),
            Err(error) => error.message.chars().take(150).collect(),
        };
        // What a test's request keeps is a server's pool.
        self.world.request.tables.borrow_mut().clear();
        self.world.server.lines.borrow_mut().clear();
        if grown > MOST_MEMORY {
            return Some(format!("{} KiB, {said}", grown >> 10));
        }
        (took > MOST_TIME).then(|| format!("{took:?}, {said}"))
    }
}

/// One of several parts of the work, which run beside each other.
fn drive(part: usize, parts: usize) {
    let driven = Driven::new(include_str!("walk.lua"));
    driven.world.request.put(Field::Args, "count");
    let count: usize = common::value(&driven.world, &driven.state).parse().expect("the number of lists");
    assert!(count > 30, "{count} lists of arguments");
    let mut faults = Vec::new();
    for (nth, (kind, name)) in kinds().enumerate().skip(part).step_by(parts) {
        let step = match kind {
            "plain" => 8,
            "arguments" | "steps" | "pieces" | "clock" => 1,
            _ => 3,
        };
        let on_object = ["r.", "lb.pool(", "lb.dict(", "ngx.shared", "require('socket').tcp()."]
            .iter()
            .any(|of| name.starts_with(of));
        // Which of them hangs on the function: each list meets some.
        for list in (1 + nth % step..=count).step_by(step) {
            let call = format!("{name} {} {list}\n", u8::from(on_object));
            let once = || {
                driven.world.request.put(Field::Args, &call);
                driven.fault()
            };
            if let Some(fault) = once().filter(|_| (1..ATTEMPTS).all(|_| once().is_some())) {
                faults.push(format!("{call}: {fault}"));
            }
        }
    }
    assert!(faults.is_empty(), "{} calls were not bounded:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn no_function_is_driven_over_its_bounds_1() {
    drive(0, 4);
}

#[test]
fn no_function_is_driven_over_its_bounds_2() {
    drive(1, 4);
}

#[test]
fn no_function_is_driven_over_its_bounds_3() {
    drive(2, 4);
}

#[test]
fn no_function_is_driven_over_its_bounds_4() {
    drive(3, 4);
}

/// Programs that take one function into another one, and what Lua does by itself.
const PROGRAMS: &[&str] = &[
    "table.concat(setmetatable({}, {__index = tostring, __tostring = table.concat}), '', 1, math.maxinteger)",
    "table.concat(setmetatable({}, {__index = rawlen, __len = function() return 1 << 40 end}))",
    "local t, s = {}, ('0'):rep(4000) for i = 1, 1000 do t[i] = s .. i end table.sort(t, tonumber)",
    "('x'):rep(1e6):gsub('.', print)",
    "while true do pcall(print, 'x') end",
    "local t = {} for i = 1, 300000 do t[i] = i end for _ = 1, 20 do require('cjson').encode(t) end",
    "local d = require('cjson').decode('[' .. ('{\"\":0},'):rep(280000) .. '0]')",
    "local s = ('é'):rep(1 << 20) local m = {__close = function() utf8.len(s) end}
     local function f(n) local x <close> = setmetatable({}, m) if n > 0 then f(n - 1) end end f(180) while true do end",
    "local m = {__close = function() while true do end end}
     local function f(n) local x <close> = setmetatable({}, m) if n > 0 then return (f(n - 1)) end end pcall(f, 150)",
    "local co = coroutine.wrap(function() local x <close> = setmetatable({}, {__close = function() while true do end end})
     while true do end end) co()",
    "local co = coroutine.create(function() local x <close> = setmetatable({}, {__close = function() while true do end end})
     while true do end end) pcall(coroutine.resume, co) coroutine.close(co)",
    "local weak, keys = setmetatable({}, {__mode = 'k'}), {} for i = 1, 20000 do keys[i] = {} end
     for i = 1, #keys - 1 do weak[keys[i]] = keys[i + 1] end local first = keys[1] keys = nil
     while true do local x = {} end",
    "local weak, meta, keys = {}, {}, {} setmetatable(weak, meta) meta.__mode = 'k' for i = 1, 20000 do keys[i] = {} end
     for i = #keys, 2, -1 do weak[keys[i]] = keys[i - 1] end local first = keys[#keys] keys = nil
     while true do local x = {} end",
    "local a, b = ('\\0'):rep(1 << 22) .. 'a', ('\\0'):rep(1 << 22) .. 'b' while true do if a < b then end end",
    "local t = {} setmetatable(t, {__call = t}) t()",
    "local t = {} for i = 1, 300000 do t[i] = i + 0.5 end while true do table.concat(t, ',') end",
    "local t = {} for i = 1, 300000 do t[i] = i * 7919 % 300007 end table.sort(t)",
    "local s = ('x'):rep(1 << 20) local t = {s, s .. 'a', s .. 'b'} for i = 4, 1500 do t[i] = t[i - 3] end table.sort(t)",
    "local s = (' '):rep(1 << 20) .. '1' local t = {} for i = 1, 900000 do t[i] = s end math.max(table.unpack(t))",
    "local s = (' '):rep(1 << 20) .. '1' while true do os.time({year = s, month = s, day = s, hour = s}) end",
    "local f = load('x = ' .. ('a or '):rep(13000) .. 'a') while true do load('x = ' .. ('a or '):rep(13000) .. 'a') end",
    "while true do coroutine.wrap(function() table.sort({3, 2, 1}, rawequal) end)() end",
    "while true do setmetatable({}, {__index = string.rep}).x = 1 end",
    "local function f() return coroutine.wrap(f)() end f()",
    "string.gsub(('x'):rep(1e5), '.', function() return coroutine.wrap(table.concat)({1, 2, 3}) end)",
    "while true do r.notes[tostring({})] = '' end",
    "r.args = ('a=b&'):rep(250000) while true do r:parseargs() end",
    "r.args = ('a&'):rep(500000) while true do r:parseargs() end",
    "while true do lb.pool('app'):where{zone = 'eu'} end",
    "while true do lb.pool('app'):first():drain() lb.pool('app'):first():enable() end",
    "local t = {} for i = 1, 10 do t[i] = ('x'):rep(1 << 20) .. i end while true do collectgarbage() end",
    "error(setmetatable({}, {__tostring = function() while true do end end}))",
    "xpcall(function() while true do end end, function() while true do end end)",
    "local function deep(n) return pcall(deep, n) end while true do deep(1) end",
    "string.rep('x', -1) local s = '' while true do s = s .. 'x' end",
    // A replacement that is long and gives nothing, for each place.
    "('x'):rep(250000):gsub('', ('%0'):rep(1000))",
    // Keys that would all have one place in the table that is made when it is full.
    "local t = {} for k = 1, 32768 do t[k * 65535] = k end t.x = 1",
    "local t = {} for k = 1, 32768 do t[-k * 65535] = k end t.x = 1",
    "local t = {} for k = 1, 16384 do t[(2^30 + 5 + k * 32767) / 2^40] = k end t.x = 1",
    "kept = kept or {} for k = #kept, 1e9 do kept[1 + k * 2^-52] = k end",
];

#[test]
fn no_program_goes_over_its_bounds() {
    let mut faults = Vec::new();
    for program in PROGRAMS {
        let driven = Driven::new(&format!(
            "function f(r)\n{program}\nreturn 204 end\nfunction after(r) return 204 end"
        ));
        let fault = driven.fault();
        if let Some(fault) = fault.filter(|_| (1..ATTEMPTS).all(|_| driven.fault().is_some())) {
            faults.push(format!("{program}: {fault}"));
        }
        let after = driven.state.select(driven.world.id, "after", Phase::Translate);
        assert_eq!(after.unwrap(), Answer::Status(204), "after {program}");
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
