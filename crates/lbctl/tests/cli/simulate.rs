// SPDX-License-Identifier: Apache-2.0
//! `lbctl simulate`.

use std::io::Write as _;

use insta::assert_snapshot;

use crate::{Folder, Said};

const POOLS: &str = "\
<LuaBalancerPool app>
  LuaBalancerMember http://192.0.2.1:8080 name=a weight=5
  LuaBalancerMember http://192.0.2.2:8080 name=b
  LuaBalancerMember http://192.0.2.3:8080 name=c
  LuaBalancerOutlier on failures=3 ejection=10s
</LuaBalancerPool>
";

const SCRIPT: &str = "\
local app = lb.pool('app')
function select(r)
  if r.uri:find('^/static/') then return nil end
  if r.uri == '/teapot' then return 418 end
  if r.uri == '/loop' then while true do end end
  return app:round_robin()
end
";

/// `count` lines from 14:00 on, twenty a second.
pub fn log(count: usize) -> String {
    let line = |n: usize| {
        let (minute, second) = (n / 20 / 60, n / 20 % 60);
        let path = ["/", "/api/x?y=1", "/static/a.css", "/api/y"][n % 4];
        format!(
            "192.0.2.{} - - [30/Nov/2026:14:{minute:02}:{second:02} +0000] \"GET {path} HTTP/1.1\" 200 5 \
             \"-\" \"agent\"\n",
            n % 200
        )
    };
    (0..count).map(line).collect()
}

pub fn folder() -> Folder {
    Folder::with(&[("pools.conf", POOLS), ("a.lua", SCRIPT), ("access.log", &log(4000))])
}

pub fn simulate(folder: &Folder, arguments: &[&str]) -> Said {
    folder.lbctl(&[&["simulate", "--config", "pools.conf"], arguments].concat())
}

pub fn json(said: &Said) -> serde_json::Value {
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}\n{}", said.whole()))
}

fn share(document: &serde_json::Value, member: &str) -> f64 {
    let members = document["members"].as_array().unwrap();
    members.iter().find(|one| one["member"] == member).map_or(0.0, |one| one["share"].as_f64().unwrap())
}

#[test]
fn shares_follow_weights_and_the_script_has_its_say() {
    let folder = folder();
    let said = simulate(&folder, &["--script", "a.lua", "access.log"]).done();
    assert_snapshot!("by_script", said.whole());
    let document = json(&simulate(&folder, &["--script", "a.lua", "--json", "access.log"]).done());
    assert_eq!(document["requests"], 3000);
    assert_eq!(document["declined"], 1000);
    assert_eq!(document["shares"]["app/a"], document["members"][0]["share"]);
    for (member, expected) in [("app/a", 5.0 / 7.0), ("app/b", 1.0 / 7.0), ("app/c", 1.0 / 7.0)] {
        assert!((share(&document, member) - expected).abs() < 0.002, "{member}: {document}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let folder = folder();
    let once = |seed: &str| {
        let arguments = [
            "--method",
            "power_of_two",
            "--seed",
            seed,
            "--svg",
            "out",
            "--html",
            "out.html",
            "-o",
            "json",
            "access.log",
        ];
        (simulate(&folder, &arguments).done().out, folder.read("out/shares.svg"), folder.read("out.html"))
    };
    assert_eq!(once("7"), once("7"));
    assert_ne!(once("7").0, once("8").0);
}

#[test]
fn a_member_that_is_down_is_ejected_and_its_requests_go_elsewhere() {
    let folder = folder();
    let document = json(&simulate(&folder, &["--json", "--down", "a@14:01+60s", "access.log"]).done());
    assert_eq!(document["unserved"], 0);
    let retries = document["retries"].as_u64().unwrap();
    assert!((3..100).contains(&retries), "{document}");
    assert!(share(&document, "app/a") < 0.55, "{document}");
    let all = json(
        &simulate(
            &folder,
            &[
                "--json",
                "--down",
                "a@14:01+60s",
                "--down",
                "b@14:01+60s",
                "--down",
                "c@14:01+60s",
                "access.log",
            ],
        )
        .done(),
    );
    assert!(all["unserved"].as_u64().unwrap() > 1000, "{all}");
}

#[test]
fn members_come_and_are_slow() {
    let folder = folder();
    let arguments = [
        "--json",
        "--method",
        "least_connections",
        "--service",
        "200ms",
        "--slow",
        "a=10x@14:00",
        "--add",
        "d=http://192.0.2.4:80@14:02",
        "access.log",
    ];
    let document = json(&simulate(&folder, &arguments).done());
    assert!(share(&document, "app/a") < 0.7 && share(&document, "app/d") > 0.05, "{document}");
    let p50 = document["members"].as_array().unwrap().iter().find(|one| one["member"] == "app/a").unwrap();
    let p50 = p50["latency"]["p50"].as_f64().unwrap();
    assert!((p50 / 2.0 - 1.0).abs() < 0.03, "{p50}");
}

#[test]
fn service_times_of_the_log_are_the_members() {
    let folder = folder();
    let lines: String = (0..500)
        .map(|n| format!("{} \"GET /x{n} HTTP/1.1\" 200 30000\n", 1_796_047_200_000u64 + n * 50))
        .collect();
    folder.write("timed.log", lines);
    let document =
        json(&simulate(&folder, &["--json", "--log-format", "%{msec}t \"%r\" %>s %D", "timed.log"]).done());
    let p50 = document["latency"]["p50"].as_f64().unwrap();
    assert!((p50 / 0.03 - 1.0).abs() < 0.03, "{document}");
}

#[test]
fn differences_are_counted_by_path_with_examples() {
    let folder = folder();
    folder.write("old.lua", SCRIPT.replace("app:round_robin()", "app:hash(r.useragent_ip)"));
    folder.write("same.lua", SCRIPT);
    let said = simulate(&folder, &["--script", "a.lua", "--compare", "old.lua", "access.log"]).done();
    assert_snapshot!("compared", said.whole());
    let same = simulate(&folder, &["--script", "a.lua", "--compare", "same.lua", "access.log"]).done();
    assert!(same.out.contains("0 of 4000 requests (0.00 %) go to another member"), "{}", same.out);
}

#[test]
fn a_request_draws_the_same_numbers_on_both_sides_of_a_comparison() {
    let folder = folder();
    let script = |more: &str| {
        format!(
            "local app = lb.pool('app')\nfunction select(r)\n  local draw = math.random()\n  {more}\n  return app:member(draw < 0.5 and 'a' or 'b')\nend\n"
        )
    };
    folder.write("new.lua", script(""));
    // One draw more for some requests: the others keep theirs.
    folder.write("old.lua", script("if r.uri:find('^/cart') then draw = math.random() end"));
    let all = (0..400).map(|n| format!("{{\"time\":{n},\"path\":\"{}\"}}\n", ["/x", "/cart/y"][n % 2]));
    folder.write("drawn.log", all.collect::<String>());
    let arguments = ["--json", "--script", "new.lua", "--compare", "old.lua", "drawn.log"];
    let document = json(&simulate(&folder, &arguments).done());
    let differ = &document["differences"];
    assert_eq!((&differ["by_path"][0]["path"], &differ["drawn"]), (&"/cart".into(), &0.into()), "{differ}");
    assert_eq!(differ["by_path"].as_array().map(Vec::len), Some(1), "{differ}");
    assert!(differ["differ"].as_u64().is_some_and(|count| count > 50), "{differ}");
}

#[test]
fn draws_are_not_compared_with_a_log_but_by_their_shares() {
    let folder = folder();
    let line = |n: usize| {
        let member = ["a", "b", "c"][n % 3];
        format!("h [30/Nov/2026:14:00:{:02} +0000] \"GET / HTTP/1.1\" {member}\n", n / 20)
    };
    folder.write("own.log", (0..600).map(line).collect::<String>());
    let arguments = ["--against-log", "--log-format", "%h %t \"%r\" %{LB_MEMBER}e", "own.log"];
    let drawn = [&["--method", "random", "--pool", "app"][..], &arguments].concat();
    assert_snapshot!("drawn", simulate(&folder, &drawn).done().whole());
}

#[test]
fn requests_that_the_module_has_logged_are_found_again() {
    let folder = folder();
    // Smooth round robin over 5, 1, 1.
    let turn = ["a", "a", "b", "a", "c", "a", "a"];
    let lines: String = (0..700)
        .map(|n| format!("h [30/Nov/2026:14:00:{:02} +0000] \"GET / HTTP/1.1\" {}\n", n / 20, turn[n % 7]))
        .collect();
    folder.write("own.log", lines);
    let arguments = ["--against-log", "--log-format", "%h %t \"%r\" %{LB_MEMBER}e", "own.log"];
    let said = simulate(&folder, &arguments).done();
    assert!(said.out.contains("0 of 700 requests"), "{}", said.out);
}

#[test]
fn broken_lines_are_named_and_the_rest_goes_on() {
    let folder = folder();
    let mut bytes = b"\xff\xfe\x00 binary\n".to_vec();
    bytes.extend(log(20).into_bytes());
    bytes.extend(b"192.0.2.1 - - [30/Nov/2026:14:00:00 +0000] \"GET\n{\"time\": 1}\n");
    folder.write("broken.log", &bytes);
    assert_snapshot!("broken_lines", simulate(&folder, &["broken.log"]).done().whole());
    folder.write("nothing.log", "x\ny\n");
    assert_snapshot!("nothing", simulate(&folder, &["nothing.log"]).whole());
    folder.write("empty.log", "");
    assert_eq!(simulate(&folder, &["empty.log"]).code, 1);
}

#[test]
fn packed_logs_are_read_as_far_as_they_go() {
    let folder = folder();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(log(4000).as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    folder.write("whole.log.gz", &packed);
    folder.write("cut.log.gz", &packed[..packed.len() / 2]);
    let whole = json(&simulate(&folder, &["--json", "whole.log.gz"]).done());
    assert_eq!((whole["requests"].as_u64(), whole["unread"].as_u64()), (Some(4000), Some(0)));
    let cut = json(&simulate(&folder, &["--json", "cut.log.gz"]).done());
    assert!((100..4000).contains(&cut["requests"].as_u64().unwrap()), "{cut}");
    assert!(cut["unread_examples"][0].as_str().unwrap().contains("the rest cannot be read"), "{cut}");
}

#[test]
fn a_script_that_loops_is_told_and_the_rest_goes_on() {
    let folder = folder();
    let lines = log(3).replace("GET / ", "GET /loop ");
    folder.write("loop.log", lines);
    let said = simulate(&folder, &["--script", "a.lua", "loop.log"]).done();
    assert!(said.out.contains("1 times: script failed") && said.out.contains("50 ms"), "{}", said.out);
}

#[test]
fn wrong_calls_are_told() {
    let folder = folder();
    folder.write("two.conf", POOLS.to_owned() + &POOLS.replace("Pool app", "Pool other"));
    let mut all = String::new();
    for arguments in [
        &["simulate", "access.log"][..],
        &["simulate", "--config", "pools.conf"],
        &["simulate", "--config", "two.conf", "access.log"],
        &["simulate", "--config", "pools.conf", "gone.log"],
        &["simulate", "--config", "pools.conf", "--pool", "nope", "access.log"],
        &["simulate", "--config", "pools.conf", "--pool", "app", "--against-log", "access.log"],
        &["simulate", "--config", "pools.conf", "--down", "zz@14:00+1m", "access.log"],
        &["simulate", "--config", "pools.conf", "--service", "slow", "access.log"],
        &["simulate", "--config", "pools.conf", "--slow", "a", "access.log"],
        &["simulate", "--config", "pools.conf", "--method", "best", "access.log"],
        &["simulate", "--config", "pools.conf", "--log-format", "%h", "access.log"],
    ] {
        all += &format!("$ lbctl {}\n{}\n", arguments.join(" "), folder.lbctl(arguments).whole());
    }
    assert_snapshot!("wrong_simulations", all);
}

#[test]
fn years_without_requests_take_no_time() {
    let folder = folder();
    folder.write("pools.conf", POOLS.replace("</Lua", "  LuaBalancerHealthCheck tcp interval=1s\n</Lua"));
    folder.write(
        "odd.log",
        "{\"time\":1,\"path\":\"/x\",\"seconds\":-5}\n{\"time\":1e300,\"path\":\"/x\"}\n\
         {\"time\":\"2026-11-30T14:00:00Z\",\"path\":\"/x\",\"seconds\":1e300}\n\
         {\"time\":7258118399,\"path\":\"/x\"}\n",
    );
    let started = std::time::Instant::now();
    let document = json(&simulate(&folder, &["--json", "odd.log"]).done());
    assert_eq!(
        (document["requests"].as_u64(), document["unread"].as_u64()),
        (Some(3), Some(1)),
        "{document}"
    );
    assert!(started.elapsed().as_secs() < 10);
}

/// Ten requests at once, and one a minute later; each takes 100 ms.
fn crowd(set: &str, path: fn(usize) -> String) -> Folder {
    let member = |name: &str, port: u16| {
        format!("  LuaBalancerMember http://192.0.2.1:{port} name={name} max_inflight=1\n")
    };
    let pool = format!(
        "<LuaBalancerPool app>\n{}{}  LuaBalancerSet {set}\n</LuaBalancerPool>\n",
        member("a", 1),
        member("b", 2)
    );
    let line = |second: usize, path: String| {
        format!("{{\"time\":\"2026-11-30T14:{second:02}:00.500Z\",\"path\":\"{path}\",\"seconds\":0.1}}\n")
    };
    let log: String = (0..10).map(|n| line(0, path(n))).chain([line(1, "/late".into())]).collect();
    Folder::with(&[("pools.conf", &pool), ("access.log", &log)])
}

#[test]
fn requests_wait_for_a_place_first_come_first_served() {
    let folder = crowd("queue=5s", |n| format!("/{n}"));
    let document = json(&simulate(&folder, &["--json", "access.log"]).done());
    let number = |key: &str| document[key].as_u64().unwrap();
    assert_eq!([number("requests"), number("unserved"), number("waited"), number("gave_up")], [11, 0, 8, 0]);
    let near = |value: &serde_json::Value, wanted: f64| (value.as_f64().unwrap() / wanted - 1.0).abs() < 0.03;
    // Two at a time: the last ones wait for four times 100 ms, and take as long once more.
    assert!(near(&document["latency"]["p99"], 0.5) && near(&document["waits"]["p50"], 0.2), "{document}");
    for member in ["app/a", "app/b"] {
        let one = document["members"].as_array().unwrap().iter().find(|one| one["member"] == member).unwrap();
        assert!(one["peak"] == 1 && near(&one["latency"]["p99"], 0.1), "{document}");
    }
    let words = simulate(&folder, &["access.log"]).done().out;
    assert!(words.contains("8 waited for a place (p50 20"), "{words}");
    assert!(words.contains("0 of them in vain"), "{words}");
}

#[test]
fn a_request_that_waits_longer_than_the_queue_allows_gets_503() {
    let folder = crowd("queue=150ms", |n| format!("/{n}"));
    let document = json(&simulate(&folder, &["--json", "access.log"]).done());
    let number = |key: &str| document[key].as_u64().unwrap();
    assert_eq!([number("waited"), number("gave_up"), number("unserved")], [8, 6, 6], "{document}");
    let without = crowd("retries=1", |n| format!("/{n}"));
    let document = json(&simulate(&without, &["--json", "access.log"]).done());
    assert_eq!((&document["waited"], &document["unserved"]), (&0.into(), &8.into()), "{document}");
}

#[test]
fn requests_wait_in_front_of_httpd_when_all_its_workers_are_busy() {
    let folder = crowd("retries=1", |n| format!("/{n}"));
    let conf = String::from_utf8(folder.read("pools.conf").into()).unwrap();
    folder.write("pools.conf", conf.replace("max_inflight=1", ""));
    let run = |more: &[&str]| json(&simulate(&folder, &[more, &["--json", "access.log"]].concat()).done());
    let free = run(&[]);
    assert_eq!(
        (&free["workers"], &free["waited_for_worker"]),
        (&serde_json::Value::Null, &0.into()),
        "{free}"
    );
    let one = run(&["--workers", "1"]);
    // One after the other: nobody is refused, and the last has waited for all others.
    assert_eq!((&one["unserved"], &one["workers_peak"]), (&0.into(), &1.into()), "{one}");
    assert!(one["waited_for_worker"].as_u64().is_some_and(|waited| waited >= 9), "{one}");
    let p99 = |document: &serde_json::Value| document["latency"]["p99"].as_f64().unwrap();
    assert!(p99(&one) > 5.0 * p99(&free), "{one}\n{free}");
    // The configuration's own word; 0 means that nobody waits.
    folder.write("pools.conf", format!("MaxRequestWorkers 1\n{}", conf.replace("max_inflight=1", "")));
    assert_eq!(run(&[]), one);
    assert_eq!(run(&["--workers", "0"]), free);
    folder.write("pools.conf", format!("MaxRequestWorkers 1\nMaxRequestWorkers 2\n{conf}"));
    let said = simulate(&folder, &["access.log"]).done();
    assert!(said.err.contains("which MaxRequestWorkers holds"), "{}", said.whole());
}

#[test]
fn one_that_wants_a_member_of_its_own_stands_in_nobodys_way() {
    let folder = crowd("queue=5s", |n| if n < 5 { "/a".into() } else { "/any".into() });
    folder.write(
        "s.lua",
        "local app = lb.pool('app')\nfunction select(r)\n  if r.uri == '/a' then return app:only('a') end\n  return app\nend\n",
    );
    let said = simulate(&folder, &["--script", "s.lua", "--json", "access.log"]).done();
    let document = json(&said);
    assert_eq!((&document["unserved"], &document["waited"]), (&0.into(), &8.into()), "{document}");
    // b has the five that want anybody one after the other, and the last request.
    assert!((share(&document, "app/a") - 5.0 / 11.0).abs() < 0.2, "{document}");
}

#[test]
fn requests_that_have_waited_are_compared_with_the_member_they_got() {
    let folder = crowd("queue=5s", |n| format!("/{n}"));
    folder.write("one.lua", "function select(r) return lb.pool('app') end\n");
    folder.write("two.lua", "local app = lb.pool('app')\nfunction select(r) return app end\n");
    let arguments = ["--script", "two.lua", "--compare", "one.lua", "access.log"];
    let words = simulate(&folder, &arguments).done().out;
    assert!(words.contains("0 of 11 requests (0.00 %) go to another member"), "{words}");
    folder.write("one.lua", "function select(r) return lb.pool('app'):only('a') end\n");
    let words = simulate(&folder, &arguments).done().out;
    assert!(words.contains(" of 11 requests (") && !words.contains("0 of 11 requests"), "{words}");
}

/// A quarter of an hour in which a member is down, and another one slow, as the guide has it.
#[test]
fn the_picture_in_the_documentation_is_what_a_simulation_draws() {
    let folder = folder();
    folder.write("access.log", log(18_000));
    let words = ["--down", "b@14:03+3m", "--slow", "a=10x@14:09+3m", "--method", "least_connections"];
    simulate(&folder, &[&words[..], &["--svg", "out", "access.log"]].concat()).done();
    let (drawn, path) = (folder.read("out/shares.svg"), crate::root().join("docs/pictures/simulate.svg"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &drawn).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == drawn, "docs/pictures/simulate.svg is another one: scripts/pictures makes it anew");
}

#[test]
fn no_path_of_a_log_steers_the_terminal() {
    let folder = folder();
    let line =
        |path: &str| format!("192.0.2.1 - - [30/Nov/2026:14:00:00 +0000] \"GET {path} HTTP/1.1\" 200 5\n");
    folder.write("evil.log", (0..20).map(|_| line("/\u{1b}[2J\u{202e}<b>")).collect::<String>());
    folder.write("one.lua", "function select(r) return lb.pool('app'):member('c') end\n");
    let said = simulate(&folder, &["--script", "a.lua", "--compare", "one.lua", "evil.log"]).done();
    let steers = |letter: char| letter.is_control() && letter != '\n' || letter == '\u{202e}';
    assert!(said.out.contains("for example") && said.out.contains("<b>"), "{:?}", said.out);
    assert!(!said.out.contains(steers), "{:?}", said.out);
    folder.write("empty.log", "");
    let said = simulate(&folder, &["empty.log"]);
    assert!(said.code == 1 && said.err.contains("the log is empty"), "{}", said.whole());
}
