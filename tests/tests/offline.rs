// SPDX-License-Identifier: Apache-2.0
//! `lbctl test` says without a server what the module does: the same configuration, the same
//! requests, one after the other, member by member.
//! A request draws from a seed of its own, on both sides (`X-Draw`, which servers of tests know).

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use regex::Regex;
use serde_json::Value;
use server_tests::asked::{self, Asked, Asking, MEMBERS, PICK};
use server_tests::httpd::DOOR;
use server_tests::lbctl::lbctl_program;
use server_tests::{Backend, Client, Httpd, Request, pool, wait_until};

const REQUESTS: usize = 10_000;

/// The standby of each pool.
const STANDBY: &str = "  LuaBalancerMember http://127.0.0.1:PORT/7 name=g status=+H\n";

/// The scripts of `lua/`.
const SHIPPED: [(&str, &str); 14] = [
    ("balancer", "LuaHookTranslate"),
    ("blue_green", "LuaHookTranslate"),
    ("by_header", "LuaHookTranslate"),
    ("by_path", "LuaHookTranslate"),
    ("canary", "LuaHookTranslate"),
    ("geo", "LuaHookTranslate"),
    ("hash_by_user", "LuaHookSelect"),
    ("least_connections", "LuaHookTranslate"),
    ("shadow", "LuaHookTranslate"),
    ("shedding", "LuaHookTranslate"),
    ("sticky_canary", "LuaHookTranslate"),
    ("tenants", "LuaHookTranslate"),
    ("time_of_day", "LuaHookTranslate"),
    ("weighted", "LuaHookTranslate"),
];

/// Texts of scripts that those who install them replace; PORT is the backend's.
const REPLACED: [(&str, &str, &str); 5] = [
    ("geo", "zone = \"china\"", "zone = \"eu\""),
    ("geo", "zone = \"usa\"", "zone = \"us\""),
    ("weighted", "host = \"192.168.1.10\", port = 8080", "name = \"w1\", url = \"http://127.0.0.1:PORT/1\""),
    ("weighted", "host = \"192.168.1.11\", port = 8080", "name = \"w2\", url = \"http://127.0.0.1:PORT/2\""),
    ("weighted", "host = \"192.168.1.12\", port = 8080", "name = \"w3\", url = \"http://127.0.0.1:PORT/3\""),
];

/// In China, in the USA, in Great Britain, and nowhere.
const CLIENTS: [&str; 4] = ["175.16.199.1", "216.160.83.56", "81.2.69.142", "192.0.2.1"];
const HOSTS: [&str; 4] = ["acme.example.org", "WWW.acme.example.org", "globex.example.org.", "example.org"];

/// Pools beside the usual ones.
const POOLS: [(&str, &str); 8] = [
    ("api", "LuaBalancerMethod first"),
    ("static", ""),
    ("weights", "LuaBalancerMethod rendezvous key=%{REQUEST_URI}"),
    ("plain", "LuaBalancerMethod hash key=%{req:X-Key}"),
    ("acme", "LuaBalancerMethod least_connections"),
    ("globex", ""),
    ("day", "LuaBalancerMethod random"),
    ("night", ""),
];

/// All of them.
fn pools() -> Vec<(&'static str, &'static str)> {
    asked::POOLS.into_iter().chain(POOLS).collect()
}

/// Functions that draw: no seed of a request makes Lua's own draws those of the server.
const DRAW: &str = "\
function draws(r) return lb.pool('app'):member(math.random() < 0.7 and 'a' or 'b') end
function two_in_script(r) return lb.pool('app'):power_of_two() end
";

const DATABASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/geo/tests/data/GeoIP2-City-Test.mmdb");

/// Everything that both read.
fn configuration(port: u16) -> String {
    let mut text = format!("LuaBalancerScriptLimit time=1s\nLuaBalancerGeoIP {DATABASE}\n");
    let members = format!("{MEMBERS}{STANDBY}").replace("PORT", &port.to_string());
    text += &asked::site(&pools(), &members, &["each", "list", "view", "odd", "draws", "two_in_script"]);
    for (name, directive) in SHIPPED {
        writeln!(text, "<LocationMatch ^/{name}/>\n  {directive} lua/{name}.lua select\n</LocationMatch>")
            .expect("room");
    }
    text
}

/// Headers that decide.
const HEADERS: [(&str, &[&str]); 8] = [
    ("Cookie", &["SRV=.a", "SRV=.b", "SRV=.other", "SRV=.d", "SRV=.e", "SRV=.nobody"]),
    ("Cookie", &["beta=1; colour=green; track=canary; app_version=2"]),
    ("X-Zone", &["eu", "us", "mars"]),
    ("X-Api-Key", &["api1", "api2", "api3", "api4", "api5", "api6", "api7", "api8", "api9"]),
    ("X-Name", &["a", "c", "d", "zz"]),
    ("X-What", &["error", "page", "nobody", "403", "410"]),
    ("X-Priority", &["low"]),
    ("Host", &HOSTS),
];

/// Requests of a fixed seed, to these places and the usual ones.
fn requests(more: &[&str]) -> Vec<Asked> {
    let pools = pools().into_iter().map(|(name, _)| format!("/pool/{name}"));
    let scripts = SHIPPED.iter().map(|(name, _)| format!("/{name}"));
    let others = ["/pool/scripted", "/each", "/list", "/view", "/odd", "/nobodys"];
    let others = others.iter().chain(more).map(|place| (*place).to_owned());
    let asking = Asking {
        places: pools.chain(scripts).chain(others).collect(),
        ends: &["/", "/x", "/api/y", "/static/z", "/export/all", "/images/1"],
        headers: &HEADERS,
        clients: &CLIENTS,
    };
    asking.requests(REQUESTS)
}

/// The test that writes down who is asked, when the server was asked at this second.
fn suite(requests: &[Asked], second: u64, out: &Path) -> String {
    let mut text = String::from("local t = require 'lb.test'\nt.config 'offline.conf'\nlocal asked = {\n");
    for Asked { path, client, headers } in requests {
        let pairs: String = headers.iter().map(|(name, value)| format!("['{name}'] = '{value}', ")).collect();
        writeln!(text, "  {{ '{path}', {{ client = '{client}', headers = {{ {pairs}}} }} }},").expect("room");
    }
    write!(
        text,
        "}}
t.case('all', function()
  t.time('{second}')
  local out = assert(io.open('{}', 'w'))
  for _, one in ipairs(asked) do
    t.seed(tonumber(one[2].headers['X-Draw']))
    local got = t.get(one[1], one[2])
    out:write(got.member or (got.declined and '404') or tostring(got.status), '\\n')
  end
  out:close()
end)
",
        out.display()
    )
    .expect("room");
    text
}

/// Headers that decide, as they stand in the log.
const LOGGED: [&str; 8] =
    ["Host", "X-Key", "Cookie", "X-Zone", "X-Api-Key", "X-Name", "X-What", "X-Priority"];

fn log_format() -> String {
    let headers: String = LOGGED.iter().map(|name| format!(" \"%{{{name}}}i\"")).collect();
    format!("%{{usec}}t %a \"%r\" %D{headers} %{{LB_MEMBER}}e")
}

/// Paths whose members are drawn, by the method or by the script.
const DRAWS: [&str; 6] =
    ["/pool/random/", "/pool/two/", "/pool/day/", "/time_of_day/", "/draws/", "/two_in_script/"];

fn start(backend: &Backend) -> (Httpd, PathBuf) {
    let mut builder = Httpd::builder()
        .children(1)
        .with_member_states()
        .module("remoteip")
        .config("RemoteIPHeader X-Forwarded-For\nRemoteIPInternalProxy 127.0.0.1")
        .file("offline.conf", &configuration(backend.port()))
        .file("pick.lua", &format!("{PICK}{DRAW}"))
        .config("Include offline.conf\nUseCanonicalName Off\nKeepAlive On\nMaxKeepAliveRequests 0")
        .config("Header always set X-Member \"expr=%{reqenv:LB_MEMBER}\"")
        .config(&format!("CustomLog sim.log \"{}\"", log_format().replace('"', "\\\"")));
    let lua = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lua");
    for (name, _) in SHIPPED {
        let file = format!("{name}.lua");
        let mut script = fs::read_to_string(lua.join(&file)).expect("a shipped script");
        for (_, from, to) in REPLACED.iter().filter(|(of, _, _)| *of == name) {
            assert!(script.contains(from), "{file} has no {from}");
            script = script.replace(from, &to.replace("PORT", &backend.port().to_string()));
        }
        builder = builder.file(&format!("lua/{file}"), &script);
    }
    let folder = builder.dir().to_owned();
    (builder.start(), folder)
}

/// Sends them one after the other; who served each.
fn serve(httpd: &Httpd, requests: &[Asked]) -> Vec<String> {
    let mut client = httpd.client();
    let one = |asked: &Asked| {
        let answer = client.send(&asked.request());
        let member = answer.header("X-Member").unwrap_or_default();
        if member.is_empty() { answer.status.to_string() } else { member.to_owned() }
    };
    requests.iter().map(one).collect()
}

fn lbctl(folder: &Path, arguments: &[&str]) -> String {
    let program = lbctl_program();
    assert!(program.is_file(), "{} is not built: cargo build --profile tests -p lbctl", program.display());
    let said = Command::new(&program).args(arguments).current_dir(folder).output().expect("run lbctl");
    let words = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.success(), "{words}{}", String::from_utf8_lossy(&said.stderr));
    words
}

#[test]
fn offline_answers_are_the_modules_for_ten_thousand_requests() {
    let backend = Backend::new("all");
    let (httpd, folder) = start(&backend);
    let requests = requests(&[]);
    let began = now_s();
    let served = serve(&httpd, &requests);
    // The time of day may be another one on each side.
    let same_hour = began / 3600 == now_s() / 3600;

    let out = folder.join("offline.txt");
    fs::write(folder.join("offline_test.lua"), suite(&requests, began, &out)).expect("write the test");
    lbctl(&folder, &["test", "offline_test.lua"]);
    let told = fs::read_to_string(&out).expect("what lbctl has told");
    let told: Vec<&str> = told.lines().collect();
    assert_eq!(told.len(), served.len());
    let differ: Vec<String> = requests
        .iter()
        .zip(served.iter().zip(&told))
        .filter(|(asked, (served, told))| {
            served != *told && (same_hour || !asked.path.starts_with("/time_of_day/"))
        })
        .map(|(asked, (served, told))| {
            format!("{} {:?}: {served}, lbctl says {told}", asked.path, asked.headers)
        })
        .collect();
    let first = differ.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(differ.is_empty(), "{} of {} differ:\n{first}", differ.len(), served.len());
}

/// Draws of scripts cannot be seeded from outside: their shares are compared.
#[test]
fn draws_of_scripts_have_the_shares_that_they_have_in_the_module() {
    const EACH: usize = 4000;
    let backend = Backend::new("all");
    let (httpd, folder) = start(&backend);
    let out = folder.join("offline.txt");
    for place in ["/draws", "/two_in_script"] {
        let headers = vec![("X-Key", String::new())];
        let asked = Asked { path: format!("{place}/"), client: CLIENTS[0], headers };
        let served = serve(&httpd, &vec![asked; EACH]);
        let text = format!(
            "local t = require 'lb.test'\nt.config 'offline.conf'\nt.case('all', function()
  local out = assert(io.open('{}', 'w'))
  for _ = 1, {EACH} do out:write(t.get('{place}/').member, '\\n') end
  out:close()
end)\n",
            out.display()
        );
        fs::write(folder.join("offline_test.lua"), text).expect("write the test");
        lbctl(&folder, &["test", "offline_test.lua"]);
        let told = fs::read_to_string(&out).expect("the words of lbctl");
        let told: Vec<&str> = told.lines().collect();
        for name in ["a", "b", "c"] {
            let count = |all: usize| all as f64 / EACH as f64;
            let served = count(served.iter().filter(|one| *one == name).count());
            let told = count(told.iter().filter(|one| **one == name).count());
            assert!((served - told).abs() < 0.045, "{place}, {name}: {served}, lbctl has {told}");
        }
        assert!(told.len() == EACH && told.contains(&"a") && told.contains(&"b"), "{place}");
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs()
}

/// The milliseconds that the server believes each member of a pool to take.
fn latencies(client: &mut Client, pool: &str) -> Vec<(String, String)> {
    let text = client.get(&format!("{DOOR}/{pool}")).text();
    let found = Regex::new(r"(?m)^member [^/]+/(\S+) .* latency_ms=([0-9.]+)").expect("a pattern");
    found.captures_iter(&text).map(|found| (found[1].to_owned(), found[2].to_owned())).collect()
}

#[test]
fn the_fastest_of_two_is_the_same_with_the_servers_own_figures() {
    let members = Backend::named(["a", "b", "c"]);
    for (backend, ms) in members.iter().zip([1, 2, 4]) {
        backend.slow(Duration::from_millis(ms));
    }
    let [a, b, c] = &members;
    let lines = pool("app", &[(a, ""), (b, "weight=2"), (c, "weight=3")], "LuaBalancerMethod least_latency");
    let builder = Httpd::builder().children(1).with_member_states();
    let folder = builder.dir().to_owned();
    let httpd = builder
        .file("offline.conf", &format!("{lines}\nProxyPass / lb://app/"))
        .config("Include offline.conf")
        .start();
    // On one connection: the server is done with a request when it looks at the next.
    let mut client = httpd.client();
    wait_until("every member was measured", Duration::from_secs(10), || {
        client.get("/");
        latencies(&mut client, "app").iter().all(|(_, ms)| ms.parse::<f64>().is_ok_and(|ms| ms > 0.0))
    });
    let out = folder.join("offline.txt");
    let mut text = format!(
        "local t = require 'lb.test'\nt.config 'offline.conf'\nt.case('all', function()\n\
         local out = assert(io.open('{}', 'w'))\n",
        out.display()
    );
    let mut served = Vec::new();
    for number in 0..500 {
        for (name, ms) in latencies(&mut client, "app") {
            writeln!(text, "t.latency('app/{name}', {ms} / 1000)").expect("room");
        }
        writeln!(text, "t.seed({number}) out:write(t.get('/').member, '\\n')").expect("room");
        let answer = client.send(&Request::get("/").header("X-Draw", &number.to_string()));
        served.push(answer.backend().to_owned());
    }
    text += "out:close()\nend)\n";
    fs::write(folder.join("offline_test.lua"), &text).expect("write the test");
    lbctl(&folder, &["test", "offline_test.lua"]);
    let told = fs::read_to_string(&out).expect("what lbctl has told");
    let told: Vec<&str> = told.lines().collect();
    let differ = served.iter().zip(&told).filter(|(served, told)| served != *told).count();
    assert!(differ == 0 && told.len() == served.len(), "{differ} differ:\n{served:?}\n{told:?}");
    assert!(["a", "b", "c"].iter().filter(|name| told.contains(name)).count() > 1, "{told:?}");
}

#[test]
fn a_simulation_of_the_modules_own_log_finds_the_members_that_it_names() {
    let backend = Backend::new("all");
    let (httpd, folder) = start(&backend);
    let requests = requests(&["/draws", "/two_in_script"]);
    serve(&httpd, &requests);
    let log = folder.join("sim.log");
    let lines = || fs::read_to_string(&log).unwrap_or_default().lines().count();
    wait_until("the log has every request", Duration::from_secs(10), || lines() >= requests.len());
    let format = log_format();
    let arguments =
        ["simulate", "--config", "offline.conf", "--against-log", "--log-format", &format, "sim.log"];
    let words = lbctl(&folder, &arguments);
    let told: Value = serde_json::from_str(&lbctl(&folder, &[&arguments[..], &["-o", "json"]].concat()))
        .expect("a document");
    // A log does not tell the draws: requests that were drawn are compared by their shares.
    let drawn = told["differences"]["drawn"].as_u64().expect("a number");
    let all = lines() as u64 - drawn;
    let found = format!("0 of {all} requests (0.00 %) go to another member");
    assert!(words.contains(&found), "{words}");
    assert!(words.contains(&format!("draws: {drawn} requests are not compared one by one")), "{words}");
    let may_draw = |path: &str| DRAWS.iter().any(|own| path.starts_with(own));
    let most = requests.iter().filter(|asked| may_draw(&asked.path)).count() as u64;
    assert!(drawn > most / 2 && drawn <= most, "{drawn} of {most}");
    let shares = told["differences"]["drawn_shares"].as_array().expect("a list");
    for share in shares {
        let [now, before] = ["now", "before"].map(|key| share[key].as_f64().expect("a share"));
        assert!((now - before).abs() < 0.06, "{shares:?}");
    }
}
