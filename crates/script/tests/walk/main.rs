// SPDX-License-Identifier: Apache-2.0
//! Everything that a script can reach is bounded: each function is in a list of how, and is driven
//! with hostile arguments. No call takes longer than twice its time, nor more than its memory and 4
//! MiB of the process.
#![allow(missing_docs, unsafe_code)]

mod by_limits;
mod by_nature;
#[path = "../common/mod.rs"]
mod common;
mod reach;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::World;
use reach::{MODULES, OBJECTS};
use script::host::Field;
use script::{Answer, Limits, LuaState, Phase};

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
/// The processor time that a call may take: twice its time, and some for a machine that is busy
/// with other things, on which the watch is late.
const MOST_TIME: Duration = Duration::from_millis(2 * 10 + 60);
/// The memory that it may take, beside the 128 KiB that a state has before it knows a script.
const MOST_MEMORY: usize = ((16 + 4) << 20) + (128 << 10);
/// A call that took too long has been hit by others' work if it does not the next time.
const ATTEMPTS: u32 = 4;

/// The objects of timers and checks besides.
const OF_JOBS: [&str; 1] = ["require('socket').tcp()"];

fn kinds() -> impl Iterator<Item = (&'static str, &'static str)> {
    by_nature::HOW
        .iter()
        .chain(by_limits::HOW)
        .flat_map(|(kind, names)| names.iter().map(|name| (*kind, *name)))
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
    state: LuaState,
}

impl Driven {
    fn new(text: &str) -> Driven {
        let world = World::with(text, &["f"], |builder| builder.limits(LIMITS));
        world.take().unwrap();
        let state = world.state();
        world.balancer.quiet.set(true);
        Driven { world, state }
    }

    /// The fault of a call, if any.
    fn fault(&self) -> Option<String> {
        let held = HELD.load(Ordering::Relaxed);
        MOST_HELD.store(held, Ordering::Relaxed);
        // The bytes that Lua holds already count as the call's.
        let others = held.saturating_sub(self.state.used_memory());
        let start = processor_time();
        let result = self.state.select(self.world.id, "f", Phase::Translate);
        let took = processor_time() - start;
        let grown = MOST_HELD.load(Ordering::Relaxed).saturating_sub(others);
        let said = match &result {
            Ok(_) => "ended well".to_owned(),
            Err(error) => error.message.chars().take(150).collect(),
        };
        // The values that a test's request keeps are those of a server's pool.
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
        // The function decides which of them it gets: each list meets some.
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
