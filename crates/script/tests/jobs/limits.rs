// SPDX-License-Identifier: Apache-2.0
//! Limits, timers and connections.

use super::*;

#[test]
fn a_job_over_its_time_is_stopped_wherever_it_loops() {
    for body in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "coroutine.wrap(function() while true do end end)()",
        "string.gsub('a', 'a', function() while true do end end)",
        "string.gsub('a', 'a', function() coroutine.wrap(function() while true do end end)() end)",
        "while true do coroutine.yield() end",
        "while true do coroutine.wrap(function() coroutine.yield() end)() end",
    ] {
        let start = Instant::now();
        let error = error(body);
        assert_eq!(error.kind, ErrorKind::Time, "{body}: {error}");
        assert!(error.message.contains("main.lua:"), "{body}: {error}");
        assert!(start.elapsed() < Duration::from_secs(2), "{body}: {:?}", start.elapsed());
    }
}

#[test]
fn waiting_counts_and_the_last_wait_ends_with_the_limit() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let hang = format!("local s = socket.tcp() assert(s:connect('127.0.0.1', {port})) print(s:receive())");
    let start = Instant::now();
    assert_eq!(printed(&format!("{hang} print('after')")), ["nil\ttimeout\t", "after"]);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    let error = error(&format!("while true do {hang} end"));
    assert_eq!(error.kind, ErrorKind::Time, "{error}");
}

#[test]
fn a_checks_timeout_is_its_limit() {
    let world = World::new("function check(m) while true do end end", "check");
    let state = world.background();
    let member = world.balancer.pools.borrow()[0].members[0].clone();
    let job = state.start_check(world.id, "check", &member, Duration::from_millis(50)).unwrap();
    let error = common::finish(&state, job).unwrap_err();
    assert!(error.message.contains("stopped after 50 ms, the check's timeout="), "{error}");
}

#[test]
fn a_check_that_waits_too_long_has_failed_whatever_it_would_say() {
    let world = World::new("function check(m) lb.tcp('h', 1, 60) return true end", "check");
    let state = world.background();
    let member = world.balancer.pools.borrow()[0].members[0].clone();
    let timeout = Duration::from_millis(30);
    let mut job = state.start_check(world.id, "check", &member, timeout).unwrap();
    let Io::Connect { timeout: wait, .. } = wait_for(&state, &mut job, Reply::Nothing) else { panic!() };
    assert!(wait > timeout && wait < Duration::from_secs(1), "{wait:?}");
    std::thread::sleep(timeout);
    let Step::Done(result) = state.resume(&mut job, Reply::Connected(Err("timeout".into()))) else {
        panic!()
    };
    assert_eq!(result.unwrap_err().kind, ErrorKind::Time);
}

#[test]
fn a_job_over_its_memory_is_stopped_and_others_go_on() {
    let error = error("local t = {} for i = 1, math.huge do t[i] = ('x'):rep(1000) .. i end");
    assert_eq!(error.kind, ErrorKind::Memory, "{error}");
    // Growing a little in each turn is growing all the same.
    let world = World::new(
        "function grow() local t = {} while true do for i = 1, 100 do t[#t + 1] = ('x'):rep(1000) .. #t end coroutine.yield() end end\n\
         function tick() print('fine') end",
        "tick",
    );
    let state = world.background();
    let error = common::finish(&state, state.start_timer(world.id, "grow").unwrap()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Memory, "{error}");
    common::finish(&state, state.start_timer(world.id, "tick").unwrap()).unwrap();
    assert_eq!(world.lines(), ["fine"]);
}

#[test]
fn a_state_that_scripts_fill_says_so() {
    let world =
        World::new("kept = {}\nfunction tick() kept[#kept + 1] = ('x'):rep(1 << 20) .. #kept end", "tick");
    let state = world.background();
    let share = common::limits().memory_bytes >> 20;
    for run in 0.. {
        assert!(run <= 5 * share, "never full");
        match common::finish(&state, state.start_timer(world.id, "tick").unwrap()) {
            Ok(_) => assert!(!state.is_outgrown()),
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::Memory, "{error}");
                assert!(run > 2 * share, "after {run} runs");
                break;
            }
        }
    }
    assert!(state.is_outgrown());
}

#[test]
fn stopping_ends_what_runs() {
    let world = world("while true do pcall(function() while true do end end) end");
    world.take().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let state = world.unloaded(stop.clone());
    let job = state.start_timer(world.id, "tick").unwrap();
    stop.store(true, Ordering::Relaxed);
    assert_eq!(common::finish(&state, job).unwrap_err().kind, ErrorKind::Stopped);
}

#[test]
fn timers_with_senseless_times_are_refused() {
    for (call, expected) in [
        ("lb.every(0, print)", "lb.every: expected seconds from 0.001"),
        ("lb.every(-1, print)", "lb.every: expected seconds from 0.001"),
        ("lb.every(0/0, print)", "lb.every: expected seconds"),
        ("lb.every(1e300, print)", "lb.every: expected seconds"),
        ("lb.after(-1, print)", "lb.after: expected seconds from 0"),
        ("lb.after(1/0, print)", "lb.after: expected seconds"),
        ("ngx.timer.every(0, print)", "ngx.timer.every: expected seconds"),
        ("ngx.timer.at(-1, print)", "ngx.timer.at: expected seconds"),
        ("lb.every('x', print)", "bad argument #1"),
        ("lb.every(1)", "bad argument #2"),
        ("lb.every(1, 'f')", "bad argument #2"),
    ] {
        let world = World::new(&format!("{call}\nfunction tick() end"), "tick");
        let error = world.take().unwrap_err();
        assert!(error.message.contains(expected) && error.message.contains("main.lua:1:"), "{call}: {error}");
    }
}

#[test]
fn at_most_1024_timers_wait() {
    let lines = printed(
        "for i = 1, 1024 do assert(lb.after(60, print)) end\n\
         print(lb.after(60, print)) print(lb.every(60, print)) print(ngx.timer.at(60, print))",
    );
    assert_eq!(lines, ["nil\ttoo many pending timers"; 3]);
}

#[test]
fn a_timer_whose_last_run_is_not_over_is_left_out() {
    let world = World::new("lb.every(1, function() print('run') lb.tcp('h', 1) end)\nfunction f() end", "f");
    let state = world.background();
    let mut jobs: Vec<_> = state.due(1.0);
    assert_eq!(jobs.len(), 1);
    let mut first = jobs.remove(0).unwrap();
    wait_for(&state, &mut first, Reply::Nothing);
    assert!(state.due(2.0).is_empty());
    assert!(matches!(state.resume(&mut first, Reply::Connected(Err("no".into()))), Step::Done(Ok(None))));
    drop(first);
    assert_eq!(state.due(3.0).len(), 1);
}

#[test]
fn a_failing_run_does_not_end_a_repeating_timer() {
    let world = World::new("lb.every(1, function() error('boom') end)\nfunction f() end", "f");
    let state = world.background();
    for now in [1.0, 2.0, 3.0] {
        let (next, failed) = common::run_timers(&state, now);
        assert_eq!(next, Some(now + 1.0));
        assert_eq!(failed.len(), 1);
        assert!(failed[0].message.contains("main.lua:1: boom"), "{}", failed[0]);
    }
}

#[test]
fn a_new_version_takes_over_from_the_timers_of_the_old_one() {
    let version = |n: u32| {
        format!(
            "local function again() lb.after(1, function() print({n}) again() end) end again()\nfunction f() end"
        )
    };
    let world = World::new(&version(1), "f");
    let state = world.background();
    assert_eq!(common::run_timers(&state, 1.0).1, []);
    let mut old = state.due(2.0).remove(0).unwrap();
    world.folder.write("main.lua", &version(2));
    assert!((0..3).any(|_| world.library.changed(world.id).is_some()));
    world.take().unwrap();
    state.load(world.id).unwrap();
    // The old one's last run starts itself again in vain.
    while !matches!(state.resume(&mut old, Reply::Nothing), Step::Done(Ok(None))) {}
    world.server.clock.set(10.0);
    common::run_timers(&state, 10.0);
    common::run_timers(&state, 20.0);
    assert_eq!(world.lines(), ["1", "1", "2", "2"]);
}

#[test]
fn a_version_that_fails_here_alone_leaves_the_timers_of_the_old_one() {
    let world = World::new("lb.every(1, function() print('old') end)\nfunction f() end", "f");
    let state = world.background();
    let broken = "lb.every(1, function() print('new') end)\nif ngx.worker.pid and not judged then error('here') end\nfunction f() end";
    let path = world.folder.write("main.lua", broken);
    let _ = path;
    assert!((0..3).any(|_| world.library.changed(world.id).is_some()));
    assert!(world.take().is_err());
    state.load(world.id).unwrap();
    common::run_timers(&state, 1.0);
    assert_eq!(world.lines(), ["old"]);
}

#[test]
fn a_dropped_job_closes_its_connections() {
    let world = world("local s = socket.tcp() s:connect('h', 1) s:receive()");
    let state = world.background();
    let mut job = state.start_timer(world.id, "tick").unwrap();
    wait_for(&state, &mut job, Reply::Nothing);
    let connection: Rc<()> = Rc::default();
    let reply = Reply::Connected(Ok(Connection(connection.clone())));
    let receive = wait_for(&state, &mut job, reply);
    drop(receive);
    assert_eq!(Rc::strong_count(&connection), 2);
    drop(job);
    state.collect_abandoned();
    assert_eq!(Rc::strong_count(&connection), 1);
}

#[test]
fn the_timeout_of_a_socket_is_that_of_a_whole_receive_however_it_drips() {
    let port = dripping();
    for pattern in ["'*a'", "'*l'", "100000"] {
        let lines = printed(&format!(
            "local s = socket.tcp() s:settimeout(0.1) assert(s:connect('127.0.0.1', {port}))\n\
             local start = socket.gettime()\n\
             local value, why, part = s:receive({pattern}) print(value, why, #part > 2 and #part < 40)\n\
             value, why, part = s:receive({pattern}) print(value, why, #part > 2 and #part < 40)"
        ));
        assert_eq!(lines, ["nil\ttimeout\ttrue", "nil\ttimeout\ttrue"], "{pattern}");
    }
}

#[test]
fn a_state_has_a_bounded_number_of_sockets_and_forgotten_ones_do_not_count() {
    let world = world(
        "for i = 1, 300 do local s = socket.tcp() assert(s:connect('h', 1)) end\n\
         local kept, ok, why = {}\n\
         for i = 1, 300 do\n\
           local s = socket.tcp() kept[#kept + 1] = s\n\
           ok, why = s:connect('h', 1) if not ok then break end\n\
         end\n\
         print(#kept, why) kept[1]:close() print((kept[#kept]:connect('h', 1)))",
    );
    let state = world.background();
    let mut job = state.start_timer(world.id, "tick").unwrap();
    let mut reply = Reply::Nothing;
    let done = loop {
        reply = match state.resume(&mut job, reply) {
            Step::Done(result) => break result,
            Step::Again => Reply::Nothing,
            Step::Wait(Io::Connect { .. }) => Reply::Connected(Ok(Connection(Rc::new(())))),
            Step::Wait(io) => panic!("{io:?}"),
        };
    };
    done.unwrap();
    assert_eq!(world.lines(), ["257\tmore than 256 sockets are open", "1"]);
}

#[test]
fn sockets_speak_lines_without_blocking() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut got = [0; 5];
        stream.read_exact(&mut got).unwrap();
        stream.write_all(b"one\r\ntwo\nrest").unwrap();
    });
    let lines = printed(&format!(
        "local s = require('socket').tcp()\n\
         assert(s:settimeout(0.3) == 1)\n\
         print(s:receive())\n\
         print(s:send('x'))\n\
         print(s:connect('127.0.0.1', {port}))\n\
         print(s:send('hello'))\n\
         print(s:receive(), s:receive('*l'), s:receive(2), s:receive('*a'))\n\
         print(select(2, s:receive()))\n\
         print(s:close(), s:close())\n\
         print(select(2, pcall(s.receive, {{}})))\n\
         print(select(2, pcall(s.connect, s, '127.0.0.1', 70000)))\n\
         print(select(2, pcall(s.connect, s, 'a b', 1)))"
    ));
    server.join().unwrap();
    let starts = ["nil\tclosed\t", "nil\tclosed", "1", "5", "one\ttwo\tre\tst", "closed\t", "1\t1"];
    assert_eq!(&lines[..7], starts);
    for (line, expected) in
        lines[7..].iter().zip(["expected a socket", "port from 1 to 65535", "expected a host"])
    {
        assert!(line.contains(expected), "{line}");
    }
}

#[test]
fn answers_that_are_none_are_errors_of_the_check() {
    let world = World::new(
        "function yes() return true end function no() return nil, 'why' end function odd() return {} end \
         function fails() error('boom') end
         function trick() return false, setmetatable({}, { __tostring = function() while true do end end }) end",
        "yes",
    );
    let state = world.background();
    let member = world.balancer.pools.borrow()[0].members[0].clone();
    let check = |function: &str| common::check(&state, &world, function, &member);
    assert!(check("yes").unwrap().healthy);
    assert_eq!(check("no").unwrap().reason.as_deref(), Some("why"));
    assert_eq!(check("trick").unwrap().reason.as_deref(), Some("a table"));
    assert!(check("odd").unwrap_err().message.contains("returned a table, expected true, or false"));
    assert!(check("fails").unwrap_err().message.contains("main.lua:1: boom"));
    assert!(check("missing").unwrap_err().message.contains("there is no function 'missing'"));
}

#[test]
fn the_text_of_an_error_is_made_within_the_limits() {
    let began = Instant::now();
    for text in [
        "while true do end",
        "local all = {} while true do all[#all + 1] = {} end",
        "return ('x'):rep(1 << 40)",
        "error(self)",
        "return 7",
    ] {
        let body = format!(
            "error(setmetatable({{}}, {{ __tostring = function(self) {text} end, __name = 'odd' }}))"
        );
        let world = world(&body);
        let state = world.background();
        let error = common::finish(&state, state.start_timer(world.id, "tick").unwrap()).unwrap_err();
        let list = state.start_list(world.id, "tick", Duration::from_millis(200)).unwrap();
        let of_list = common::finish(&state, list).unwrap_err();
        if text.starts_with("while") {
            assert_eq!((error.kind, of_list.kind), (ErrorKind::Time, ErrorKind::Time), "{error}, {of_list}");
            assert!(of_list.message.contains("main.lua:2"), "{of_list}");
        }
    }
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    let said = error("error(setmetatable({}, { __tostring = function() return 'odd' end }))");
    assert!(said.message.ends_with("main.lua:2: odd"), "{said}");
    assert!(said.traceback.contains("main.lua:2: in"), "{}", said.traceback);
}
