// SPDX-License-Identifier: Apache-2.0
//! The functions behind `lb.test` (test.lua), for one test file.

use std::rc::Rc;

use balance::api::{Balancer, Change};
use balance::event::By;
use balance::units;
use mlua::{AnyUserData, Function, HookTriggers, Lua, Table, Value, VmState};
use script::host::{Request, RequestTable as Headers};
use script::offline::define_member;

use super::background::Background;
use super::described;
use super::stage::{Failed, Running, Stage};
use crate::explain::words;
use crate::moment;
use crate::world::ask::Ask;
use explain::{Settled, Told};

fn wrong(text: String) -> mlua::Error {
    mlua::Error::runtime(text)
}

/// The module `lb.test`.
pub fn module(lua: &Lua, stage: &Rc<Stage>) -> mlua::Result<Value> {
    let native = lua.create_table()?;
    cases(lua, stage, &native)?;
    requests(lua, stage, &native)?;
    members(lua, stage, &native)?;
    time(lua, stage, &native)?;
    lua.load(include_str!("test.lua")).set_name("=lb.test").call(native)
}

/// The line of the test that is running.
fn line(lua: &Lua, stage: &Stage) -> Option<usize> {
    const FRAMES: usize = 40;
    let file = format!("@{}", stage.file.display());
    (0..FRAMES).find_map(|level| {
        let found = lua.inspect_stack(level, |frame| {
            let own = frame.source().source.is_some_and(|source| source == file);
            own.then(|| frame.current_line()).flatten()
        });
        found.flatten()
    })
}

fn cases(lua: &Lua, stage: &Rc<Stage>, native: &Table) -> mlua::Result<()> {
    let own = stage.clone();
    native.set("config", lua.create_function(move |_, what: Value| own.configure(&what).map_err(wrong))?)?;
    let own = stage.clone();
    let case = move |lua: &Lua, (name, body): (String, Function)| {
        let begun = own.begin(name, line(lua, &own).unwrap_or(0)).map_err(wrong)?;
        if begun {
            let failed = body.call::<()>(()).err().map(|error| failed(&own, &error.to_string()));
            own.ended(failed);
            limit_time(lua, &own, STEPS)?;
        }
        Ok(())
    };
    native.set("case", lua.create_function(case)?)?;
    let own = stage.clone();
    type Words = (String, String, Option<AnyUserData>);
    let fail = move |lua: &Lua, (expected, came, told): Words| -> mlua::Result<()> {
        let line = line(lua, &own);
        let told = told.and_then(|told| Some(told.borrow::<Handle>().ok()?.0.clone()));
        let explanation = told.map(|told| explained(&own, &told)).unwrap_or_default();
        let text = format!("expected {expected}, came {came}");
        own.note(Failed { line, expected: Some(expected), came, explanation, log: Vec::new() });
        Err(wrong(text))
    };
    native.set("fail", lua.create_function(fail)?)?;
    let own = stage.clone();
    let last = move |lua: &Lua, ()| handle(lua, &own);
    native.set("last", lua.create_function(last)?)
}

/// Instructions between two looks at the clock.
pub const STEPS: u32 = 10_000;

/// Ends a case that takes too long: at every instruction from then on, whatever it catches.
pub fn limit_time(lua: &Lua, stage: &Rc<Stage>, steps: u32) -> mlua::Result<()> {
    let own = stage.clone();
    lua.set_global_hook(HookTriggers::new().every_nth_instruction(steps), move |lua, _| {
        let Err(text) = own.check_time() else { return Ok(VmState::Continue) };
        if steps > 1 {
            limit_time(lua, &own, 1)?;
        }
        Err(wrong(text))
    })
}

/// Why a case failed that ended with this error: an expectation's, or any other.
fn failed(stage: &Stage, error: &str) -> Failed {
    let message = error.strip_prefix("runtime error: ").unwrap_or(error);
    let message = message.split("\nstack traceback:").next().unwrap_or_default();
    if let Some(noted) = stage.noted() {
        let expected = noted.expected.clone().unwrap_or_default();
        if message.contains(&format!("expected {expected}, came {}", noted.came)) {
            return noted;
        }
    }
    let place = format!("{}:", stage.file.display());
    let at = message.find(&place).map(|at| &message[at + place.len()..]);
    let line = at.and_then(|rest| rest.split(':').next()?.parse().ok());
    let last = stage.last.borrow().clone();
    let explanation = last.map(|told| explained(stage, &told)).unwrap_or_default();
    // Where a table is in memory is nobody's news, and differs from run to run.
    let raised_table = message.starts_with("table: 0x");
    let came = if raised_table { "a table was raised".into() } else { message.replacen(&place, "line ", 1) };
    Failed { line, expected: None, came, explanation, log: Vec::new() }
}

/// A request that may have to be explained, kept with what Lua has of it: explaining asks the pool
/// for more, which no request does that is only looked at.
struct Handle(Rc<Told>);

fn handle(lua: &Lua, stage: &Stage) -> mlua::Result<Option<AnyUserData>> {
    let told = stage.last.borrow().clone();
    told.map(|told| lua.create_any_userdata(Handle(told))).transpose()
}

fn explained(stage: &Stage, told: &Told) -> String {
    stage.running().map(|running| words::of(&running.world, told)).unwrap_or_default()
}

fn go(stage: &Stage, running: &Running, ask: &Ask) -> Settled {
    let pool_name = |member: &balance::member::Member| {
        let pools = running.world.memberships();
        let own = pools.iter().find(|pool| pool.members.iter().any(|other| other.slot == member.slot));
        own.map(|pool| pool.name.to_string()).unwrap_or_default()
    };
    let any_slow = !running.slow.borrow().is_empty();
    let took = |member: &balance::member::Member| {
        running.took(&if any_slow { pool_name(member) } else { String::new() }, member)
    };
    let (visited, ended, candidates) = running.world.go(ask, took);
    stage.last.replace(Some(Rc::new(Told { visited, ended: ended.clone(), candidates })));
    ended
}

fn requests(lua: &Lua, stage: &Rc<Stage>, native: &Table) -> mlua::Result<()> {
    let own = stage.clone();
    let get = move |lua: &Lua, (path, options): (String, Option<Table>)| {
        let running = own.running().map_err(wrong)?;
        let ask = own.ask(&path, options.as_ref()).map_err(wrong)?;
        running.world.server.take_lines();
        let ended = go(&own, &running, &ask);
        let result = result(lua, &running, &ended)?;
        result.set("told", handle(lua, &own)?)?;
        Ok(result)
    };
    native.set("get", lua.create_function(get)?)?;
    let own = stage.clone();
    let quick = move |_: &Lua, (path, options): (String, Option<Table>)| {
        let running = own.running().map_err(wrong)?;
        let ask = own.ask(&path, options.as_ref()).map_err(wrong)?;
        let ended = go(&own, &running, &ask);
        Ok(ended.member.map(|member| member.spec.name.clone()))
    };
    native.set("quick", lua.create_function(quick)?)?;
    let own = stage.clone();
    let many = move |lua: &Lua, (count, path, options): (usize, Value, Option<Table>)| {
        many(lua, &own, count, (&path, options.as_ref()))
    };
    native.set("many", lua.create_function(many)?)
}

fn result(lua: &Lua, running: &Running, ended: &Settled) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let pool = ended.pool.and_then(|pool| running.world.handle().now(pool));
    table.set("pool", pool.map(|pool| pool.membership().name.to_string()))?;
    table.set("member", ended.member.as_ref().map(|member| member.spec.name.clone()))?;
    table.set("target", ended.target.as_deref())?;
    table.set("status", ended.status)?;
    table.set("declined", ended.declined)?;
    table.set("reason", ended.reason)?;
    table.set("method", ended.method)?;
    table.set("message", ended.message.as_deref())?;
    if let Some(body) = &ended.body {
        table.set("body", lua.create_string(body)?)?;
    }
    let headers = lua.create_table()?;
    for (name, value) in &ended.headers {
        headers.set(name.to_ascii_lowercase(), value.as_str())?;
    }
    for which in [Headers::HeadersOut, Headers::ErrHeadersOut] {
        let mut found = Vec::new();
        running.world.request.each(which, &mut |name, value| {
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            found.push((name, String::from_utf8_lossy(value).into_owned()));
            true
        });
        found.into_iter().try_for_each(|(name, value)| headers.set(name, value))?;
    }
    table.set("headers", headers)?;
    let log = running.world.server.lines().into_iter().map(|(_, line)| line);
    table.set("log", lua.create_sequence_from(log)?)?;
    Ok(table)
}

fn many(
    lua: &Lua,
    stage: &Stage,
    count: usize,
    (path, options): (&Value, Option<&Table>),
) -> mlua::Result<Table> {
    let running = stage.running().map_err(wrong)?;
    let fixed = match path {
        Value::String(path) => Some(stage.ask(&path.to_string_lossy(), options).map_err(wrong)?),
        Value::Function(_) => None,
        other => {
            let text = format!("t.many: expected a path or a function, found a {}", other.type_name());
            return Err(wrong(text));
        }
    };
    let counts = lua.create_table()?;
    let mut seen: Option<Settled> = None;
    let (mut one_member, mut one_status) = (true, true);
    for number in 1..=count {
        stage.check_time().map_err(wrong)?;
        let ask = match (&fixed, path) {
            (Some(ask), _) => ask.clone(),
            (None, Value::Function(make)) => made(stage, make, number, options)?,
            (None, _) => continue,
        };
        let ended = go(stage, &running, &ask);
        let name = match (&ended.member, &ended.target) {
            (Some(member), _) => member.spec.name.clone(),
            (None, Some(target)) => target.clone(),
            (None, None) if ended.declined => "declined".into(),
            (None, None) => format!("status {}", ended.status),
        };
        counts.raw_set(name.as_str(), counts.raw_get::<Option<usize>>(name.as_str())?.unwrap_or(0) + 1)?;
        if let Some(seen) = &seen {
            one_member &= seen.member == ended.member;
            one_status &= seen.status == ended.status && seen.declined == ended.declined;
        }
        seen = Some(ended);
        // Lines of thousands of requests are nobody's to read.
        running.world.server.take_lines();
    }
    let table = result(lua, &running, &seen.unwrap_or_default())?;
    if !one_member {
        table.set("member", Value::Nil)?;
    }
    if !one_status {
        table.set("status", Value::Nil)?;
    }
    table.set("counts", counts)?;
    table.set("total", count)?;
    table.set("told", handle(lua, stage)?)?;
    Ok(table)
}

fn made(stage: &Stage, make: &Function, number: usize, options: Option<&Table>) -> mlua::Result<Ask> {
    let (path, own): (String, Option<Table>) = make.call(number)?;
    stage.ask(&path, own.as_ref().or(options)).map_err(wrong)
}

fn members(lua: &Lua, stage: &Rc<Stage>, native: &Table) -> mlua::Result<()> {
    type Act = fn(&Running, &str) -> Result<(), String>;
    let acts: [(&str, Act); 6] = [
        ("up", |running, name| running.world.set_health(name, true)),
        ("down", |running, name| running.world.set_health(name, false)),
        ("drain", |running, name| running.world.order(name, Change::Drain)),
        ("disable", |running, name| running.world.order(name, Change::Disable)),
        ("enable", |running, name| running.world.order(name, Change::Enable)),
        ("remove", |running, name| running.world.remove(name)),
    ];
    for (verb, act) in acts {
        let own = stage.clone();
        let function = move |_: &Lua, name: String| {
            own.running().and_then(|running| act(&running, &name)).map_err(wrong)
        };
        native.set(verb, lua.create_function(function)?)?;
    }
    let own = stage.clone();
    let weight = move |_: &Lua, (name, weight): (String, f64)| {
        let hundredths = (weight * 100.0).round();
        if !(0.0..=6_553_500.0).contains(&hundredths) {
            return Err(wrong(format!("t.weight: {weight} is not a weight: expected 0 to 65535")));
        }
        let order = Change::SetWeight(hundredths as u32);
        own.running().and_then(|running| running.world.order(&name, order)).map_err(wrong)
    };
    native.set("weight", lua.create_function(weight)?)?;
    let own = stage.clone();
    let inflight = move |_: &Lua, (name, count): (String, u32)| {
        own.running().and_then(|running| running.world.set_inflight(&name, count)).map_err(wrong)
    };
    native.set("inflight", lua.create_function(inflight)?)?;
    let own = stage.clone();
    let latency = move |_: &Lua, (name, how): (String, Value)| {
        let seconds = seconds_of(&how).ok_or_else(|| {
            wrong("t.latency: expected seconds, or a duration such as \"200ms\"".to_owned())
        })?;
        own.running().and_then(|running| running.world.set_latency(&name, seconds)).map_err(wrong)
    };
    native.set("latency", lua.create_function(latency)?)?;
    let own = stage.clone();
    let slow = move |_: &Lua, (name, how): (String, Value)| slow(&own, &name, &how).map_err(wrong);
    native.set("slow", lua.create_function(slow)?)?;
    let own = stage.clone();
    let add = move |_: &Lua, (pool, member): (String, Value)| add(&own, &pool, &member).map_err(wrong);
    native.set("add", lua.create_function(add)?)
}

/// Seconds, a duration, or `10x` as long as usual.
fn slow(stage: &Stage, name: &str, how: &Value) -> Result<(), String> {
    let running = stage.running()?;
    let expected = "t.slow: expected seconds, a duration such as \"200ms\", or \"10x\"";
    let times = match how {
        Value::String(text) => text.to_string_lossy().strip_suffix('x').map(str::parse::<f64>),
        _ => None,
    };
    let seconds = match times {
        Some(factor) => factor.ok().map(|factor| factor * super::stage::USUAL),
        None => seconds_of(how),
    };
    let seconds = seconds.ok_or(expected)?;
    for (membership, member) in running.world.members(name)? {
        let key = (membership.name.to_string(), member.spec.name.clone());
        running.slow.borrow_mut().insert(key, seconds);
    }
    Ok(())
}

/// Seconds, 0 or more, or a duration.
fn seconds_of(how: &Value) -> Option<f64> {
    match how {
        Value::Integer(_) | Value::Number(_) => how.as_f64().filter(|seconds| *seconds >= 0.0),
        Value::String(text) => units::duration_ms(&text.to_string_lossy()).ok().map(|ms| ms as f64 / 1e3),
        _ => None,
    }
}

fn add(stage: &Stage, pool: &str, member: &Value) -> Result<(), String> {
    let running = stage.running()?;
    let handle = running.world.handle();
    let found = handle.find(pool);
    let found =
        found.ok_or_else(|| format!("there is no pool {pool}: found {}", handle.names().join(", ")))?;
    let spec = define_member(member)?;
    handle.add(found, spec, &By::Somebody).map(drop).map_err(|error| error.to_string())
}

fn time(lua: &Lua, stage: &Rc<Stage>, native: &Table) -> mlua::Result<()> {
    let own = stage.clone();
    let advance = move |_: &Lua, seconds: f64| advance(&own, seconds).map_err(wrong);
    native.set("advance", lua.create_function(advance)?)?;
    let own = stage.clone();
    let at = move |_: &Lua, when: Value| {
        let text = when.to_string().unwrap_or_default();
        let running = own.running().map_err(wrong)?;
        let moment = moment::of(&text).map_err(wrong)?;
        running.world.set_epoch(moment);
        Ok(())
    };
    native.set("time", lua.create_function(at)?)?;
    let own = stage.clone();
    let seed = move |_: &Lua, seed: i64| {
        let running = own.running().map_err(wrong)?;
        running.world.handle().draw_from(seed.cast_unsigned());
        running.world.state().seed(seed).map_err(|error| wrong(error.to_string()))
    };
    native.set("seed", lua.create_function(seed)?)?;
    let own = stage.clone();
    let place = move |_: &Lua, (address, place): (String, Option<Table>)| {
        let running = own.running().map_err(wrong)?;
        let place = place.map(|place| described::place_of(&place)).transpose().map_err(wrong)?;
        running.world.server.add_place(&address, place);
        Ok(())
    };
    native.set("place", lua.create_function(place)?)
}

fn advance(stage: &Stage, seconds: f64) -> Result<(), String> {
    if !(0.0..=1e9).contains(&seconds) {
        return Err(format!("t.advance: {seconds}: expected seconds, 0 or more"));
    }
    let running = stage.running()?;
    let world = &running.world;
    let mut background = match running.background.take() {
        Some(background) => background,
        None => Background::start(world)?,
    };
    let end = world.now() + seconds;
    let mut ramps = running.ramps.borrow_mut();
    background.run_until(end, world, &mut |to| world.pass_to(&mut ramps, to));
    running.background.replace(Some(background));
    stage.check_time()
}
