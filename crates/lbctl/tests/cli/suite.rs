// SPDX-License-Identifier: Apache-2.0
//! `lbctl test`.

use insta::assert_snapshot;

use crate::{Folder, lbctl, root};

const SCRIPT: &str = "\
local app = lb.pool('app')
function select(r)
  if r.uri == '/none' then return nil end
  if r.uri == '/loop' then while true do end end
  if r.uri == '/page' then r:puts('hello') return 418 end
  if r.uri == '/there' then return 'http://192.0.2.1:80/x' end
  return app
end
";

const CONFIG: &str = "\
local t = require 'lb.test'
t.config { script = 'a.lua', pools = { app = {
  { name = 'a', url = 'http://a:1', weight = 5 }, { name = 'b', url = 'http://b:2' },
  { name = 'c', url = 'http://c:3', zone = 'eu' } } } }
";

fn folder(tests: &str) -> Folder {
    Folder::with(&[("a.lua", SCRIPT), ("a_test.lua", &format!("{CONFIG}{tests}"))])
}

#[test]
fn the_shipped_scripts_pass_and_all_their_lines_run() {
    let said = lbctl(&root(), &["test", "lua", "--coverage", "--fail-under", "100"]).done();
    let scripts = std::fs::read_dir(root().join("lua")).unwrap().flatten();
    let names = scripts.map(|entry| entry.file_name().into_string().unwrap());
    for name in names.filter(|name| name.ends_with(".lua") && !name.ends_with("_test.lua")) {
        assert!(said.out.contains(&format!("lua/{name} ")), "{name} is not tested:\n{}", said.out);
    }
    assert!(said.out.contains("100.0 % of the lines ran"), "{}", said.out);
}

#[test]
fn the_same_tests_give_the_same_output() {
    let once = lbctl(&root(), &["test", "lua", "-o", "json"]).done().out;
    assert_eq!(once, lbctl(&root(), &["test", "lua", "-o", "json"]).done().out);
}

#[test]
fn a_failed_case_tells_case_line_expected_came_and_the_decision() {
    let folder = folder(
        "t.case('passes', function() t.expect(t.get('/')).member('a') end)
t.case('another member', function()
  t.down('c')
  t.inflight('a', 2)
  t.expect(t.get('/')).member('c')
end)
t.case('a share', function() t.expect(t.many(70, '/')).share({ a = 0.5 }, 0.01) end)
t.case('a status', function() t.down('a') t.down('b') t.down('c') t.expect(t.get('/')).status(200) end)
t.case('an error of the script', function() t.expect(t.get('/loop')).member('a') end)
t.case('an error of the test', function() t.down('nobody') end)
t.case('a plain error', function()
  local function inner() error('so it is') end
  inner()
end)
t.case('a false assertion', function() assert(1 == 2, 'one is not two') end)
t.case('an error that is a table', function() error({}) end)
",
    );
    let said = folder.lbctl(&["test"]);
    assert_snapshot!("failed_cases", said.whole());
}

#[test]
fn everything_that_can_be_expected() {
    folder(
        "t.case('answers', function()
  t.expect(t.get('/none')).declined()
  t.expect(t.get('/page')).status(418).body('hello')
  t.expect(t.get('/there')).target('http://192.0.2.1')
  t.expect(t.get('/')).pool('app').reason('ok').method('round_robin').status(200)
  t.expect(t.get('/loop')).status(500).reason('script')
end)
t.case('members', function()
  t.disable('app/a') t.drain('b')
  t.expect(t.many(5, '/')).member('c')
  t.enable('b') t.weight('b', 3)
  t.expect(t.many(40, '/')).share({ b = 3 / 4, c = 1 / 4 }, 0)
  t.remove('b') t.add('app', { name = 'd', url = 'http://d:4' })
  t.expect(t.many(40, '/')).share({ c = 0.5, d = 0.5 }, 0)
end)
t.case('keys', function()
  t.config { script = 'a.lua', pools = { app = { method = { 'maglev', key = '%{REMOTE_ADDR}' },
    { name = 'a', url = 'http://a:1' }, { name = 'b', url = 'http://b:2' }, { name = 'c', url = 'http://c:3' } } } }
  local moved = t.moved(function() t.down('c') end, t.keys(300))
  t.expect(moved).moved_only_from('c')
  assert(moved.count > 50)
end)
t.case('the configuration is back', function() t.expect(t.get('/')).method('round_robin') end)
",
    )
    .lbctl(&["test"])
    .done();
}

#[test]
fn time_passes_as_it_is_told() {
    let folder = Folder::with(&[
        (
            "a.lua",
            "local n = lb.dict('n')\nlb.every(10, function() n:incr('ticks', 1, 0) end)\n\
             function select(r) return nil, tostring(n:get('ticks')) .. ' ' .. lb.time() end\n",
        ),
        (
            "a_test.lua",
            "local t = require 'lb.test'
t.config { script = 'a.lua', dicts = { n = '64K' }, time = '2026-01-01T00:00:00Z' }
local function said() return t.get('/').message end
t.case('timers and the clock', function()
  assert(said() == 'nil 1767225600.0', said())
  t.advance(35)
  assert(said() == '3 1767225635.0', said())
  t.time('2026-01-02T00:00:00Z')
  assert(said() == '3 1767312000.0', said())
end)
t.case('slow start', function()
  t.config { script = 'b.lua', pools = { app = { slow_start = '100s',
    { name = 'a', url = 'http://a:1' }, { name = 'b', url = 'http://b:2' } } } }
  t.down('a') t.up('a')
  local early = t.many(1000, '/').counts.a
  t.advance(50)
  local later = t.many(1000, '/').counts.a
  t.advance(60)
  assert(early < 120 and later > 300 and later < 400, early .. ' ' .. later)
  t.expect(t.many(1000, '/')).share({ a = 0.5 }, 0)
end)
t.case('latency', function()
  t.config { script = 'b.lua', pools = { app = { method = 'least_latency',
    { name = 'a', url = 'http://a:1' }, { name = 'b', url = 'http://b:2' } } } }
  t.slow('a', '10x')
  t.many(10, '/')
  t.expect(t.many(100, '/')).member('b')
end)
",
        ),
        ("b.lua", "function select(r) return lb.pool('app') end\n"),
    ]);
    folder.lbctl(&["test"]).done();
}

#[test]
fn a_configuration_file_is_tested_as_the_server_reads_it() {
    let folder = Folder::with(&[
        ("a.lua", SCRIPT),
        (
            "httpd.conf",
            "ServerRoot \"DIR\"\nDefine WEIGHT 3\n<LuaBalancerPool app>\n  LuaBalancerMember http://a:1 \
             name=a weight=${WEIGHT}\n  LuaBalancerMember http://b:2 name=b\n</LuaBalancerPool>\n\
             <VirtualHost *:80>\n  ServerName plain.example.org\n  ProxyPass /pass lb://app/\n\
             </VirtualHost>\n<VirtualHost *:80>\n  ServerName www.example.org\n  <Location /app>\n    \
             LuaHookTranslate a.lua select\n  </Location>\n</VirtualHost>\n",
        ),
        (
            "a_test.lua",
            "local t = require 'lb.test'
t.config 'httpd.conf'
t.case('hosts and places', function()
  local www, plain = { host = 'www.example.org' }, { host = 'plain.example.org' }
  t.expect(t.get('/app/x', www)).pool('app')
  t.expect(t.get('/apple', www)).declined()
  t.expect(t.get('/pass/x', www)).declined()
  t.expect(t.get('/pass/x', plain)).pool('app')
  t.expect(t.get('/app/x', plain)).declined()
  t.expect(t.many(40, '/pass', plain)).share({ a = 3 / 4, b = 1 / 4 }, 0.03)
end)
",
        ),
    ]);
    let conf = folder.read("httpd.conf").replace("DIR", &folder.0.to_string_lossy());
    folder.write("httpd.conf", conf);
    folder.lbctl(&["test"]).done();
}

#[test]
fn a_case_that_does_not_end_is_stopped() {
    let folder = folder(
        "t.case('a loop', function() while true do end end)
t.case('a loop that catches', function() while true do pcall(function() while true do end end) end end)
t.case('the next one runs', function() t.expect(t.get('/')).status(200) end)
",
    );
    let said = folder.lbctl(&["test"]);
    assert_eq!(said.code, 1);
    assert_eq!(said.out.matches("the case was stopped after 5 s").count(), 2, "{}", said.out);
    assert!(
        said.out.contains("ok the next one runs") && said.out.contains("1 passed, 2 failed"),
        "{}",
        said.out
    );
}

#[test]
fn results_for_programs() {
    let folder = folder(
        "t.case('good & well', function() end)
t.case('bad <one>', function() t.expect(t.get('/')).member('c') end)
",
    );
    let said = folder.lbctl(&["test", "-o", "json", "--junit", "out.xml", "--coverage=out.lcov"]);
    assert_eq!(said.code, 1);
    assert_snapshot!("json", said.out);
    assert_snapshot!("junit", folder.read("out.xml").replace(&*folder.0.to_string_lossy(), "DIR"));
    let lcov = folder.read("out.lcov").replace(&*folder.0.to_string_lossy(), "DIR");
    assert_snapshot!("lcov", lcov);
    let plain = folder.lbctl(&["test", "--coverage", "-o", "plain"]);
    assert_snapshot!("coverage", plain.out);
}

#[test]
fn cases_can_be_chosen_and_lines_asked_for() {
    let folder = folder(
        "t.case('one', function() end)\nt.case('two', function() t.expect(t.get('/')).member('c') end)\n",
    );
    let said = folder.lbctl(&["test", "--filter", "one"]).done();
    assert!(said.out.contains("1 passed, 0 failed"), "{}", said.out);
    let said = folder.lbctl(&["test", "--filter", "one", "--fail-under", "50"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("% of the lines ran, expected 50 % or more"), "{}", said.err);
}

#[test]
fn wrong_calls_and_wrong_tests_are_told() {
    let folder = Folder::with(&[
        ("none_test.lua", "local t = require 'lb.test'\nt.case('x', function() t.get('/') end)\n"),
        ("outside_test.lua", "local t = require 'lb.test'\nt.config { pools = {} }\nt.get('/')\n"),
        ("key_test.lua", "require 'lb.test'.config { scripts = 'a.lua' }\n"),
        ("gone_test.lua", "require 'lb.test'.config { script = 'gone.lua' }\n"),
        ("syntax_test.lua", "x =\n"),
        (
            "broken_test.lua",
            "local t = require 'lb.test'\nt.config { script = 'broken.lua' }\nt.case('x', function() t.get('/') end)\n",
        ),
        ("broken.lua", "function select(r) return end end\n"),
        (
            "which_test.lua",
            "local t = require 'lb.test'\nt.config { script = 'which.lua' }\nt.case('x', function() t.get('/') end)\n",
        ),
        ("which.lua", "function a() end function b() end\n"),
        (
            "option_test.lua",
            "local t = require 'lb.test'\nt.config { pools = {} }\nt.case('x', function() t.get('/', { cookie = 1 }) end)\n",
        ),
        (
            "pool_test.lua",
            "require 'lb.test'.config { pools = { app = { { url = 'http://a:1', wait = 3 } } } }\n",
        ),
    ]);
    assert_snapshot!("wrong_tests", folder.lbctl(&["test"]).whole());
    assert_snapshot!("no_such_folder", folder.lbctl(&["test", "gone"]).whole());
    std::fs::create_dir(folder.0.join("empty")).unwrap();
    assert_snapshot!("no_tests", folder.lbctl(&["test", "empty"]).whole());
}

#[test]
fn a_case_that_is_stuck_in_c_ends_the_run() {
    let folder =
        folder("t.case('slow pattern', function() (('a'):rep(300000)):find(('.-'):rep(40) .. 'b') end)\n");
    let said = folder.lbctl(&["test"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("the case 'slow pattern' is stuck in a function of C"), "{}", said.whole());
}

#[test]
fn modules_that_a_script_requires_are_covered_too() {
    let folder = Folder::with(&[
        (
            "part.lua",
            "local part = {}\nfunction part.one()\n  return 1\nend\nfunction part.two()\n  return 2\nend\nreturn part\n",
        ),
        ("b.lua", "local part = require 'part'\nfunction select(r)\n  return 402 + part.one()\nend\n"),
        (
            "b_test.lua",
            "local t = require 'lb.test'\nt.config { script = 'b.lua', pools = {} }\nt.case('x', function() t.expect(t.get('/')).status(403) end)\n",
        ),
    ]);
    let said = folder.lbctl(&["test", "--coverage", "-o", "plain"]).done();
    assert!(said.out.contains("b.lua\t3/3\t\n") && said.out.contains("part.lua\t5/6\t6\n"), "{}", said.out);
}

#[test]
fn watching_runs_the_tests_again_when_a_file_changes() {
    use std::io::{BufRead, BufReader};
    let folder = folder("t.case('one', function() end)\n");
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_lbctl"))
        .args(["test", "--watch"])
        .current_dir(&folder.0)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "1 passed, 0 failed"));
    assert!(lines.any(|line| line.starts_with("watching")));
    folder.write(
        "a_test.lua",
        format!("{CONFIG}t.case('one', function() end)\nt.case('two', function() end)\n"),
    );
    assert!(lines.any(|line| line == "2 passed, 0 failed"));
    child.kill().unwrap();
    child.wait().unwrap();
}
