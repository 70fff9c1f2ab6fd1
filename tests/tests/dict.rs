// SPDX-License-Identifier: Apache-2.0
//! Dictionaries and `r:ivm_set` values: one for all children, right after any death, kept over
//! restarts.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use server_tests::httpd::Builder;
use server_tests::{Client, Httpd, Load, Mpm, on_every_mpm, wait_until};

const SOON: Duration = Duration::from_secs(15);

/// `/d/NAME/OPERATION?k=&v=&n=&ttl=`: the answers are in X-Value, with blanks between.
const SCRIPT: &str = r#"
local function value(text)
  if text == "true" or text == "false" then return text == "true" end
  return text and (math.tointeger(text) or tonumber(text) or text)
end
local operations = {
  get = function(d, a) return d:get(a.k) end,
  set = function(d, a) return d:set(a.k, value(a.v), tonumber(a.ttl)) end,
  add = function(d, a) return d:add(a.k, value(a.v), tonumber(a.ttl)) end,
  replace = function(d, a) return d:replace(a.k, value(a.v), tonumber(a.ttl)) end,
  incr = function(d, a) return d:incr(a.k, tonumber(a.n or 1), tonumber(a.init)) end,
  delete = function(d, a) return d:delete(a.k) end,
  ttl = function(d, a) return d:ttl(a.k) end,
  keys = function(d) return #d:keys(0) end,
  long = function(d, a) return d:set(a.k, string.rep("x", tonumber(a.n))) end,
  length = function(d, a) return #(d:get(a.k) or "") end,
  fill = function(d, a)
    for n = 1, 100000 do
      local ok, evicted = d:set(a.k .. n, n)
      if evicted then return n end
    end
  end,
  room = function(d) return d:room() end,
}
function translate(r)
  local name, operation = r.uri:match("^/d/([^/]+)/([^/]+)")
  if not name then return 404 end
  local answers = table.pack(operations[operation](lb.dict(name), r:parseargs()))
  for n = 1, answers.n do
    answers[n] = (math.type(answers[n]) or type(answers[n])) .. ":" .. tostring(answers[n])
  end
  r.err_headers_out["X-Value"] = table.concat(answers, " ")
  return 204
end
"#;

fn with_dict(lines: &str) -> Builder {
    Httpd::builder()
        .file("dict.lua", SCRIPT)
        .config(lines)
        .config("LuaBalancerScriptLimit time=5s memory=64M")
        .config("<Location /d>\n  LuaHookTranslate dict.lua\n</Location>")
}

fn ask(client: &mut Client, path: &str) -> String {
    let response = client.get(path);
    let answer = response.header("X-Value").unwrap_or("nothing").to_owned();
    format!("{}{answer}", if response.status == 204 { "" } else { "failed: " })
}

on_every_mpm!(counts_of_all_children_add_up);

fn counts_of_all_children_add_up(mpm: Mpm) {
    const CLIENTS: usize = 6;
    const EACH: usize = 200;
    let httpd = with_dict("LuaBalancerDict counts 64K").mpm(mpm).start();
    let mut counting: Vec<Client> = httpd.clients_in_children(2, "/probe").into_values().collect();
    counting.extend((2..CLIENTS).map(|_| httpd.client()));
    let threads: Vec<_> = counting
        .into_iter()
        .map(|mut client| {
            thread::spawn(move || -> BTreeSet<String> {
                (0..EACH).map(|_| ask(&mut client, "/d/counts/incr?k=n&init=0")).collect()
            })
        })
        .collect();
    let mut answers = BTreeSet::new();
    for thread in threads {
        answers.append(&mut thread.join().expect("a client thread"));
    }
    assert_eq!(answers.len(), CLIENTS * EACH, "nobody got the same number twice");
    let total = format!("integer:{}", CLIENTS * EACH);
    assert_eq!(ask(&mut httpd.client(), "/d/counts/get?k=n"), format!("{total} nil:nil"));
    let pids: BTreeSet<u32> = httpd.access_log().iter().map(|line| line.pid).collect();
    assert!(pids.len() >= 2, "all requests were one child's");
}

#[test]
fn a_value_that_one_child_stores_the_other_one_finds() {
    let httpd = with_dict("LuaBalancerDict shared 1M").start();
    let [mut one, mut other] = children(&httpd);
    for (stored, found) in [
        ("true", "boolean:true"),
        ("false", "boolean:false"),
        ("7", "integer:7"),
        ("0.5", "float:0.5"),
        ("text", "string:text"),
    ] {
        let answer = ask(&mut one, &format!("/d/shared/set?k=v&v={stored}"));
        assert_eq!(answer, "boolean:true boolean:false");
        assert_eq!(ask(&mut other, "/d/shared/get?k=v"), format!("{found} nil:nil"));
    }
    assert_eq!(ask(&mut other, "/d/shared/add?k=v&v=1"), "nil:nil string:exists");
    assert_eq!(ask(&mut other, "/d/shared/incr?k=v"), "nil:nil string:not a number");
    assert_eq!(ask(&mut one, "/d/shared/long?k=v&n=300000"), "boolean:true boolean:false");
    assert_eq!(ask(&mut other, "/d/shared/length?k=v"), "integer:300000");
    assert_eq!(ask(&mut one, "/d/shared/long?k=w&n=3000000"), "nil:nil string:no memory");
    assert_eq!(ask(&mut one, "/d/shared/delete?k=v"), "boolean:true nil:nil");
    assert_eq!(ask(&mut other, "/d/shared/get?k=v"), "nil:nil nil:nil");
    assert_eq!(ask(&mut other, "/d/shared/replace?k=v&v=1"), "nil:nil string:not found");
    assert_eq!(ask(&mut other, "/d/shared/incr?k=v"), "nil:nil string:not found");
    assert_eq!(ask(&mut other, "/d/shared/ttl?k=v"), "nil:nil string:not found");
}

fn children(httpd: &Httpd) -> [Client; 2] {
    let clients: Vec<Client> = httpd.clients_in_children(2, "/probe").into_values().collect();
    clients.try_into().expect("two clients")
}

#[test]
fn values_go_when_their_time_is_over() {
    let httpd = with_dict("LuaBalancerDict timed 32K").start();
    let [mut one, mut other] = children(&httpd);
    ask(&mut one, "/d/timed/set?k=short&v=1&ttl=0.3");
    ask(&mut one, "/d/timed/set?k=long&v=1&ttl=600");
    ask(&mut one, "/d/timed/set?k=ever&v=1");
    assert_eq!(ask(&mut other, "/d/timed/keys"), "integer:3");
    wait_until("the short one to go", SOON, || ask(&mut httpd.client(), "/d/timed/keys") == "integer:2");
    assert_eq!(ask(&mut other, "/d/timed/get?k=short"), "nil:nil nil:nil");
    assert_eq!(ask(&mut other, "/d/timed/add?k=short&v=2"), "boolean:true boolean:false");
    assert_eq!(ask(&mut other, "/d/timed/ttl?k=ever"), "float:0.0 nil:nil");
    let left = ask(&mut other, "/d/timed/ttl?k=long");
    assert!(left.starts_with("float:59"), "{left}");
    assert!(ask(&mut one, "/d/timed/set?k=x&v=1&ttl=-1").starts_with("failed"), "a negative time");
    httpd.wait_for_log(r"a time to live of -1.*expected seconds");
}

#[test]
fn a_full_dictionary_forgets_what_was_not_used_for_longest() {
    let httpd = with_dict("LuaBalancerDict small 32K").start();
    let mut client = httpd.client();
    ask(&mut client, "/d/small/set?k=first&v=1");
    ask(&mut client, "/d/small/set?k=used&v=1");
    let answer = ask(&mut client, "/d/small/fill?k=a");
    assert!(answer.starts_with("integer:"), "{answer}");
    assert_eq!(ask(&mut client, "/d/small/get?k=first"), "nil:nil nil:nil", "the first went");
    for round in 0..200 {
        assert_eq!(ask(&mut client, "/d/small/get?k=used"), "integer:1 nil:nil", "round {round}");
        let answer = ask(&mut client, &format!("/d/small/set?k=b{round}&v=1"));
        assert_eq!(answer, "boolean:true boolean:true");
    }
    assert_eq!(ask(&mut client, "/d/small/get?k=b199"), "integer:1 nil:nil");
}

on_every_mpm!(values_survive_graceful_and_restart);

fn values_survive_graceful_and_restart(mpm: Mpm) {
    let mut httpd = with_dict("LuaBalancerDict kept 64K\nLuaBalancerDict gone 64K")
        .mpm(mpm)
        .file("ivm.lua", IVM)
        .config("<Location /ivm>\n  LuaHookTranslate ivm.lua\n</Location>")
        .start();
    let mut client = httpd.client();
    ask(&mut client, "/d/kept/set?k=k&v=text&ttl=3600");
    ask(&mut client, "/d/gone/set?k=k&v=1");
    assert_eq!(httpd.client().get("/ivm/set").status, 204);
    let look = |httpd: &Httpd, when: &str| {
        assert_eq!(ask(&mut httpd.client(), "/d/kept/get?k=k"), "string:text nil:nil", "{when}");
        assert_eq!(httpd.client().get("/ivm/get").status, 202, "{when}");
    };
    client.disconnect();
    httpd.graceful();
    look(&httpd, "after graceful");
    httpd.restart();
    look(&httpd, "after restart");
    httpd.edit_config("LuaBalancerDict kept 64K", "LuaBalancerDict kept 128K");
    httpd.edit_config("LuaBalancerDict gone 64K", "LuaBalancerDict other 64K");
    httpd.graceful();
    httpd.wait_for_log(r"lua_balancer:notice.*dictionary kept has 131072 bytes now, 65536 before: 1 of 1");
    look(&httpd, "with another size");
    assert!(ask(&mut httpd.client(), "/d/kept/ttl?k=k").starts_with("float:35"));
    httpd.edit_config("LuaBalancerDict other 64K", "LuaBalancerDict gone 64K");
    httpd.restart();
    assert_eq!(ask(&mut httpd.client(), "/d/gone/get?k=k"), "nil:nil nil:nil", "it was not configured");
    httpd.assert_no_crash();
}

const IVM: &str = "function translate(r)
  if r.uri == '/ivm/set' then
    r:ivm_set('yes', true) r:ivm_set('no', false) r:ivm_set('n', 7)
    r:ivm_set('t', { a = { 1, 2.5, 'x' }, long = string.rep('y', 60000) })
    return 204
  end
  local t = r:ivm_get('t')
  local same = r:ivm_get('yes') == true and r:ivm_get('no') == false and math.type(r:ivm_get('n')) == 'integer'
    and t and t.a[2] == 2.5 and t.a[3] == 'x' and #t.long == 60000
  return same and 202 or 404
end";

#[test]
fn ivm_values_of_every_type_are_seen_by_the_other_child() {
    let httpd = Httpd::builder()
        .file("ivm.lua", IVM)
        .config("<Location /ivm>\n  LuaHookTranslate ivm.lua\n</Location>")
        .start();
    let [mut one, mut other] = children(&httpd);
    assert_eq!(other.get("/ivm/get").status, 404);
    assert_eq!(one.get("/ivm/set").status, 204);
    assert_eq!((one.get("/ivm/get").status, other.get("/ivm/get").status), (202, 202));
}

#[test]
fn ivm_values_are_refused_and_not_forgotten_when_there_is_no_room() {
    let script = "function translate(r)\n  local name, long = r.uri:match('([^/]+)$'), string.rep('x', 100000)\n  \
                  if name == 'first' then return r:ivm_get('first') == 'here' and 202 or 404 end\n  \
                  r:ivm_set('first', 'here')\n  \
                  if name == 'long' then r:ivm_set('long', string.rep('x', 4000000)) end\n  \
                  for n = 1, 1000 do r:ivm_set(name .. n, long) end\n  return 204\nend";
    let httpd = Httpd::builder()
        .file("ivm.lua", script)
        .config("LuaBalancerScriptLimit time=5s memory=64M")
        .config("<Location /ivm>\n  LuaHookTranslate ivm.lua\n</Location>")
        .start();
    let mut client = httpd.client();
    for name in ["long", "many"] {
        assert_eq!(client.get(&format!("/ivm/{name}")).status, 500);
    }
    httpd.wait_for_log(r"ivm_set: no room for 4\d+ bytes: .*LuaBalancerDict");
    httpd.wait_for_log(r"ivm_set: no room for 10\d+ bytes: .*r:ivm_set\(key, nil\)");
    assert_eq!(client.get("/ivm/first").status, 202, "nothing that was stored is forgotten");
}

#[test]
fn the_store_of_ivm_values_is_no_dictionary() {
    let httpd = with_dict("LuaBalancerDict counts 64K").start();
    let answer = ask(&mut httpd.client(), "/d/r:ivm_set/keys");
    assert!(answer.starts_with("failed"), "{answer}");
    httpd.wait_for_log("there is no dictionary .r:ivm_set");
}

#[test]
fn kills_in_the_middle_of_changes_leave_dictionaries_usable() {
    let script = "local d = lb.dict('counts')\nfunction translate(r)\n  \
                  for n = 1, 200 do\n    assert(d:incr('n', 1, 0))\n    assert(d:set('t', string.rep('x', n * 40)))\n    \
                  d:delete('gone')\n    assert(d:set('gone', n))\n    assert(d:get('t'))\n  end\n  return 204\nend";
    let httpd = with_dict("LuaBalancerDict counts 32K")
        .file("busy.lua", script)
        .config("<Location /busy>\n  LuaHookTranslate busy.lua\n</Location>")
        .start();
    let load = Load::start(httpd.port(), "/busy", 6);
    for _ in 0..6 {
        load.wait_for(40);
        httpd.kill_child(httpd.wait_for_children(2)[0]);
        httpd.wait_for_children(2);
    }
    load.wait_for(100);
    let tally = load.stop();
    assert_eq!(tally.statuses.keys().collect::<Vec<_>>(), [&204], "{tally:?}");
    let mut client = httpd.client();
    let counted = ask(&mut client, "/d/counts/get?k=n");
    let counted: usize = counted["integer:".len()..].trim_end_matches(" nil:nil").parse().expect("a count");
    assert!(counted >= tally.responses() * 200, "{counted} counted, {} answers", tally.responses());
    let [mut one, mut other] = children(&httpd);
    assert_eq!(ask(&mut one, "/d/counts/set?k=t&v=new"), "boolean:true boolean:false");
    assert_eq!(ask(&mut other, "/d/counts/get?k=t"), "string:new nil:nil");
    assert_eq!(ask(&mut other, "/d/counts/keys"), "integer:3");
    httpd.assert_no_crash();
}

#[test]
fn a_stopped_child_holds_up_no_reader_and_no_writer_for_long() {
    let script = "local d = lb.dict('counts')\nfunction translate(r)\n  \
                  for n = 1, 1000 do d:set('t', string.rep('x', 8000)) end\n  return 204\nend";
    let httpd = with_dict("LuaBalancerDict counts 32K")
        .file("busy.lua", script)
        .config("<Location /busy>\n  LuaHookTranslate busy.lua\n</Location>")
        .start();
    let clients = httpd.clients_in_children(2, "/probe");
    let [(victim, mut busy), (_, mut other)] =
        <[_; 2]>::try_from(clients.into_iter().collect::<Vec<_>>()).expect("two children");
    ask(&mut other, "/d/counts/set?k=first&v=1");
    let writer = thread::spawn(move || {
        for _ in 0..30 {
            assert_eq!(busy.get("/busy").status, 204);
        }
    });
    for _ in 0..5 {
        httpd.signal(victim, Signal::SIGSTOP);
        assert_eq!(ask(&mut other, "/d/counts/get?k=first"), "integer:1 nil:nil");
        let answer = ask(&mut other, "/d/counts/incr?k=n&init=0");
        assert!(answer.starts_with("integer:") || answer.starts_with("nil:nil string:busy"), "{answer}");
        httpd.signal(victim, Signal::SIGCONT);
    }
    writer.join().expect("the writer's requests");
    assert!(ask(&mut other, "/d/counts/incr?k=n&init=0").starts_with("integer:"));
}

#[test]
fn dictionaries_are_there_while_a_script_is_started() {
    let top = "local d = lb.dict('started')\nd:incr('starts', 1, 0)\nassert(ngx.shared.started:get('starts') > 0)\n\
               assert(ngx.shared.missing == nil)\nfunction translate(r) return 204 end\n";
    let good = || {
        Httpd::builder()
            .file("top.lua", top)
            .config("<Location /top>\n  LuaHookTranslate top.lua\n</Location>")
    };
    let test = good().config("LuaBalancerDict started 32K").configtest();
    assert!(test.ok, "{}", test.output);
    let huge = good().config("LuaBalancerDict started 65536M").configtest();
    assert!(huge.ok, "{}", huge.output);
    let missing = good().configtest();
    assert!(
        !missing.ok && missing.says("top\\.lua:1.*no dictionary .started.*LuaBalancerDict started"),
        "{}",
        missing.output
    );
    let httpd = good().config("LuaBalancerDict started 32K").start();
    assert_eq!(httpd.client().get("/top/x").status, 204);
    httpd.write("top.lua", &top.replace("return 204", "return 205"));
    wait_until("the saved version", SOON, || httpd.client().get("/top/x").status == 205);
}

#[test]
fn openresty_names_work_on_the_same_dictionary() {
    let script = r#"
      local d = ngx.shared.counts
      function translate(r)
        assert(d:safe_set("a", "x", 60)) assert(d:ttl("a") > 59)
        local ok, err = d:add("a", 1) assert(ok == false and err == "exists")
        assert(d:incr("n", 2, 40) == 42) assert(d:incr("n", 1) == 43)
        local value, why = d:incr("none", 1) assert(value == nil and why == "not found")
        assert(#d:get_keys() == 2) assert(d:capacity() == 65536 and d:free_space() < 65536)
        d:set("short", 1, 0.001)
        while d:get("short") do end
        assert(d:flush_expired() == 1)
        d:flush_all() assert(d:get("a") == nil)
        d:set("a", false) assert(d:get("a") == false)
        assert(lb.dict("counts"):get("a") == false)
        return 204
      end"#;
    let httpd = Httpd::builder()
        .file("ngx.lua", script)
        .config("LuaBalancerDict counts 64K\nLuaBalancerScriptLimit time=2s")
        .config("<Location /ngx>\n  LuaHookTranslate ngx.lua\n</Location>")
        .start();
    assert_eq!(httpd.client().get("/ngx/").status, 204);
}

#[test]
fn timers_and_requests_share_dictionaries() {
    let timer = "local d = lb.dict('counts')\nfunction tick() d:incr('ticks', 1, 0) ngx.shared.counts:incr('ticks', 1) end";
    let httpd = with_dict("LuaBalancerDict counts 64K\nLuaBalancerTimer timer.lua tick every=100ms")
        .file("timer.lua", timer)
        .start();
    wait_until("some ticks", SOON, || {
        let ticks = ask(&mut httpd.client(), "/d/counts/get?k=ticks");
        ticks.strip_prefix("integer:").and_then(|ticks| ticks.split(' ').next()?.parse().ok()) > Some(5)
    });
}

#[test]
fn a_wrong_dictionary_line_is_refused() {
    let refused = |line: &str, patterns: &[&str]| {
        Httpd::builder().config(line).configtest().assert_error_at(line, patterns);
    };
    refused("LuaBalancerDict a/b 1M", &["a/b", "letters, digits"]);
    refused("LuaBalancerDict sessions", &["a name and a size", "LuaBalancerDict sessions 1M"]);
    refused("LuaBalancerDict sessions lots", &["lots"]);
    refused("LuaBalancerDict sessions 31K", &["31K", "32K to 65536M"]);
    refused("LuaBalancerDict sessions 65537M", &["65537M", "65536M"]);
    let twice = "LuaBalancerDict sessions 1M\nLuaBalancerDict  sessions 2M";
    let test = Httpd::builder().config(twice).configtest();
    test.assert_error_at("LuaBalancerDict  sessions 2M", &["sessions is defined already, on line"]);
    let host = "<VirtualHost *>\n  LuaBalancerDict sessions 1M\n</VirtualHost>";
    let test = Httpd::builder().config(host).configtest();
    test.assert_error_at("LuaBalancerDict sessions 1M", &["outside of <VirtualHost>"]);
}
