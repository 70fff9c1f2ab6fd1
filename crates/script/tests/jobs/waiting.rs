// SPDX-License-Identifier: Apache-2.0
//! Jobs that wait, and how they go on.

use super::*;

#[test]
fn a_request_is_handed_out_and_its_answer_comes_back() {
    let world = world(
        "local answer, why = lb.http{url = 'http://h/x', method = 'PUT', headers = {A = 'b', C = {'1', 2}}, \
         body = 'text', timeout = 0.25}\n\
         print(answer.status, answer.headers['x-y'], answer.body, why)\n\
         print(lb.http{url = 'http://h/y'})",
    );
    let state = world.background();
    let mut job = state.start_timer(world.id, "tick").unwrap();
    let Io::Http(mut request) = wait_for(&state, &mut job, Reply::Nothing) else { panic!() };
    request.headers.sort();
    assert_eq!((request.url.as_str(), request.method.as_str(), request.verify), ("http://h/x", "PUT", true));
    assert_eq!((request.body.as_slice(), request.timeout), (b"text".as_slice(), Duration::from_millis(250)));
    let headers = [("A", "b"), ("C", "1"), ("C", "2")].map(|(n, v)| (n.to_owned(), v.as_bytes().to_vec()));
    assert_eq!(request.headers, headers);
    let headers = [("X-Y", "1"), ("x-y", "2")].map(|(n, v)| (n.to_owned(), v.as_bytes().to_vec())).into();
    let answer = HttpAnswer { status: 207, headers, body: b"body\0".to_vec() };
    let Io::Http(next) = wait_for(&state, &mut job, Reply::Http(Ok(answer))) else { panic!() };
    assert_eq!(next.method, "GET");
    assert!(next.timeout <= Duration::from_millis(common::limits().timer_time_ms), "within the job's limit");
    let Step::Done(Ok(None)) = state.resume(&mut job, Reply::Http(Err("timed out".into()))) else { panic!() };
    assert_eq!(world.lines(), ["207\t1, 2\tbody\0\tnil", "nil\ttimed out"]);
}

#[test]
fn requests_that_cannot_be_are_refused() {
    for (spec, expected) in [
        ("nil", "expected a table"),
        ("{}", "url is missing"),
        ("{url = {}}", "url has to be a string"),
        ("{url = 'http://h/', timeout = 0}", "timeout in seconds"),
        ("{url = 'http://h/', timeout = 0/0}", "timeout in seconds"),
        ("{url = 'http://h/', timeout = '5'}", "timeout in seconds"),
        ("{url = 'http://h/', headers = 'A: b'}", "headers has to be a table"),
        ("{url = 'http://h/', headers = {A = print}}", "a header has to be a string"),
        ("{url = 'http://h/', follow = true}", "unknown key 'follow'"),
        ("{uri = 'http://h/'}", "unknown key 'uri'"),
    ] {
        let message = message(&format!("lb.http({spec})"));
        assert!(message.contains(expected) && message.contains("main.lua:2:"), "{spec}: {message}");
    }
    for (spec, expected) in [
        ("headers = {A = 'b\\r\\nC: d'}", "line ends"),
        ("headers = {['A\\nB'] = 'c'}", "not a header's name"),
        ("headers = {A = 'b\\0'}", "NUL"),
        ("headers = {['Content-Length'] = 5}", "Content-Length"),
        ("method = 'GET / HTTP/1.1\\r\\n'", "method"),
    ] {
        let lines = printed(&format!("print(lb.http{{url = 'http://h/', {spec}}})"));
        assert!(lines[0].starts_with("nil\t") && lines[0].contains(expected), "{spec}: {lines:?}");
    }
}

#[test]
fn outside_of_checks_and_timers_nothing_waits() {
    for call in ["lb.http{url = 'http://127.0.0.1/'}", "lb.tcp('127.0.0.1', 1)"] {
        let error = common::answer(call).unwrap_err();
        assert!(error.message.contains("works in checks and timers only"), "{error}");
        assert!(error.message.contains("main.lua:2:"), "{error}");
        let world = World::new(&format!("{call}\nfunction tick() end"), "tick");
        assert!(world.take().unwrap_err().message.contains("works in checks and timers only"));
    }
}

#[test]
fn waiting_goes_through_coroutines_and_pcall_but_not_through_the_library() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let call = format!("lb.tcp('127.0.0.1', {closed})");
    let refused = format!("127.0.0.1:{closed}: connection refused");
    for body in [
        format!("print(select(2, {call}))"),
        format!("print(select(3, pcall(function() return {call} end)))"),
        format!("print(select(3, coroutine.resume(coroutine.create(function() return {call} end))))"),
        format!("print(coroutine.wrap(function() return select(2, {call}) end)())"),
        format!(
            "local co = coroutine.wrap(function() coroutine.yield('first') coroutine.yield(select(2, {call})) end)\n\
             assert(co() == 'first') print(co())"
        ),
        format!(
            "print(select(2, setmetatable({{}}, {{__index = function() return {{{call}}} end}}).x[2], nil) or '{refused}')"
        ),
    ] {
        assert_eq!(printed(&body), [refused.as_str()], "{body}");
    }
    let text = message(&format!("string.gsub('a', 'a', function() {call} end)"));
    assert!(text.contains("cannot wait inside a function"), "{text}");
    let lines = printed(&format!(
        "string.gsub('a', 'a', function() print(coroutine.wrap(function() return select(2, {call}) end)()) end)"
    ));
    assert!(lines[0].contains("cannot wait inside a function"), "{lines:?}");
}

#[test]
fn values_that_scripts_yield_themselves_stay_theirs() {
    let lines = printed(
        "local co = coroutine.create(function(a) local b = coroutine.yield() coroutine.yield(a + b) end)\n\
         print(select('#', coroutine.resume(co, 1)))\n\
         print(coroutine.resume(co, 2))\n\
         print(select('#', coroutine.resume(co)), coroutine.status(co))\n\
         print(coroutine.resume(co))\n\
         print(pcall(coroutine.wrap(function() error('boom', 0) end)))\n\
         coroutine.yield('to nobody')\n\
         print('goes on')",
    );
    let expected =
        ["1", "true\t3", "1\tdead", "false\tcannot resume dead coroutine", "false\tboom", "goes on"];
    assert_eq!(lines, expected);
}

#[test]
fn jobs_that_compute_take_turns() {
    let world = World::new(
        "function long() for i = 1, 3e6 do end print('long') end\nfunction short() print('short') end",
        "long",
    );
    let state = world.background();
    let mut long = state.start_timer(world.id, "long").unwrap();
    let start = Instant::now();
    assert!(matches!(state.resume(&mut long, Reply::Nothing), Step::Again));
    assert!(start.elapsed() < Duration::from_millis(200), "a turn took {:?}", start.elapsed());
    common::finish(&state, state.start_timer(world.id, "short").unwrap()).unwrap();
    common::finish(&state, long).unwrap();
    assert_eq!(world.lines(), ["short", "long"]);
}

#[test]
fn interruptions_change_no_result() {
    let lines = printed(
        "local function busy() for i = 1, 2e5 do end end\n\
         local co = coroutine.wrap(function() for i = 1, 5 do busy() coroutine.yield(i) end busy() end)\n\
         local seen = {} for i in co do seen[#seen + 1] = i busy() end\n\
         local t = {5, 3, 1, 4, 2}\n\
         table.sort(t, function(a, b) busy() coroutine.wrap(function() busy() coroutine.yield() busy() end)() return a < b end)\n\
         local s = string.gsub('abc', '.', function(c) busy() return select(2, pcall(coroutine.wrap(function() busy() return c:upper() end))) end)\n\
         local m = setmetatable({}, {__add = function() busy() return 7 end})\n\
         print(table.concat(seen), table.concat(t), s, m + 1)",
    );
    assert_eq!(lines, ["12345\t12345\tABC\t7"]);
}
