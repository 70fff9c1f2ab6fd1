// SPDX-License-Identifier: Apache-2.0
//! `lbctl test` says without a server what the module does: the same configuration, the same
//! requests, one after the other, member by member.
//!
//! Methods that draw are left out: their draws have another seed in each thread of a server.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use server_tests::lbctl::lbctl_program;
use server_tests::{Backend, Httpd, Request, wait_until};

const REQUESTS: usize = 10_000;

/// Members, all at one port.
const MEMBERS: &str = "  LuaBalancerMember http://127.0.0.1:PORT/1 name=a weight=5 zone=eu meta.version=1 meta.track=stable meta.colour=blue
  LuaBalancerMember http://127.0.0.1:PORT/2 name=b zone=eu meta.version=2 meta.track=canary meta.colour=green
  LuaBalancerMember http://127.0.0.1:PORT/3 name=c zone=us weight=2.5 route=other meta.version=2 meta.track=stable
  LuaBalancerMember http://127.0.0.1:PORT/4 name=d status=+D
  LuaBalancerMember http://127.0.0.1:PORT/5 name=e status=+N
  LuaBalancerMember http://127.0.0.1:PORT/6 name=f lbset=1
  LuaBalancerMember http://127.0.0.1:PORT/7 name=g status=+H
";

const PICK: &str = "\
function each(r)
  local app = lb.pool('each')
  return { app:where{ zone = 'us' }, app:member('e'), app }
end
function list(r)
  local app = lb.pool('list')
  return { app:member('d'), app:member('e'), app:member('a') }
end
function view(r)
  return lb.pool('view'):except('a'):round_robin()
end
function by(pool, r)
  return pool:member(r.headers_in['X-Name'] or 'b')
end
function odd(r)
  local what = r.headers_in['X-What']
  if what == 'error' then error('so it is') end
  if what == 'page' then r:puts('x') return 404 end
  if what == 'nobody' then return lb.pool('view'):where{ zone = 'none' }:first() end
  return tonumber(what)
end
";

/// Scripts of `lua/` whose answers hang on the request and the members alone.
const SHIPPED: [(&str, &str); 10] = [
    ("balancer", "LuaHookTranslate"),
    ("blue_green", "LuaHookTranslate"),
    ("by_header", "LuaHookTranslate"),
    ("by_path", "LuaHookTranslate"),
    ("canary", "LuaHookTranslate"),
    ("hash_by_user", "LuaHookSelect"),
    ("least_connections", "LuaHookTranslate"),
    ("shadow", "LuaHookTranslate"),
    ("shedding", "LuaHookTranslate"),
    ("sticky_canary", "LuaHookTranslate"),
];

/// Pools by their names, with what they say.
const POOLS: [(&str, &str); 13] = [
    ("app", ""),
    ("api", "LuaBalancerMethod first"),
    ("static", ""),
    ("least", "LuaBalancerMethod least_connections"),
    ("ring", "LuaBalancerMethod consistent_hash key=%{REQUEST_URI}"),
    ("bounded", "LuaBalancerMethod consistent_hash balance_factor=1.25 key=%{req:X-Key}"),
    ("maglev", "LuaBalancerMethod maglev key=%{req:X-Key}-%{QUERY_STRING}"),
    ("weights", "LuaBalancerMethod rendezvous key=%{REQUEST_URI}"),
    ("plain", "LuaBalancerMethod hash key=%{req:X-Key}"),
    ("sticky", "LuaBalancerSticky cookie=SRV param=srv"),
    ("near", "LuaBalancerSet zone=us"),
    ("each", ""),
    ("list", ""),
];

/// Everything that both read.
fn configuration(port: u16) -> String {
    let mut text = String::from("LuaBalancerScriptLimit time=1s\n");
    let members = MEMBERS.replace("PORT", &port.to_string());
    let more = [("view", ""), ("scripted", "LuaBalancerMethod lua pick.lua by")];
    for (name, line) in POOLS.iter().chain(&more) {
        writeln!(text, "<LuaBalancerPool {name}>\n{members}  {line}\n</LuaBalancerPool>").expect("room");
        writeln!(text, "ProxyPass /pool/{name} lb://{name}").expect("room");
    }
    for (name, directive) in SHIPPED {
        writeln!(text, "<LocationMatch ^/{name}/>\n  {directive} lua/{name}.lua select\n</LocationMatch>")
            .expect("room");
    }
    for function in ["each", "list", "view", "odd"] {
        writeln!(text, "<Location /{function}>\n  LuaHookTranslate pick.lua {function}\n</Location>")
            .expect("room");
    }
    text
}

struct Asked {
    path: String,
    headers: Vec<(&'static str, String)>,
}

/// Requests of a fixed seed.
fn requests() -> Vec<Asked> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut below = move |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound as u64) as usize
    };
    let pools = POOLS.iter().map(|(name, _)| format!("/pool/{name}"));
    let scripts = SHIPPED.iter().map(|(name, _)| format!("/{name}"));
    let others = ["/pool/scripted", "/each", "/list", "/view", "/odd", "/nobodys"].map(str::to_owned);
    let places: Vec<String> = pools.chain(scripts).chain(others).collect();
    let one = |_| {
        let rest = ["/", "/x", "/api/y", "/static/z", "/export/all", "/images/1"][below(6)];
        let path = format!("{}{rest}?n={}", places[below(places.len())], below(300));
        let mut headers = vec![("X-Key", format!("key{}", below(500)))];
        match below(8) {
            0 => headers
                .push(("Cookie", format!("SRV=.{}", ["a", "b", "other", "d", "e", "nobody"][below(6)]))),
            1 => headers.push(("Cookie", "beta=1; colour=green; track=canary; app_version=2".into())),
            2 => headers.push(("X-Zone", ["eu", "us", "mars"][below(3)].into())),
            3 => headers.push(("X-Api-Key", format!("api{}", below(50)))),
            4 => headers.push(("X-Name", ["a", "c", "d", "zz"][below(4)].into())),
            5 => headers.push(("X-What", ["error", "page", "nobody", "403", "410"][below(5)].into())),
            6 => headers.push(("X-Priority", "low".into())),
            _ => {}
        }
        Asked { path, headers }
    };
    (0..REQUESTS).map(one).collect()
}

/// The test that writes down who is asked.
fn suite(requests: &[Asked], out: &Path) -> String {
    let mut text = String::from("local t = require 'lb.test'\nt.config 'offline.conf'\nlocal asked = {\n");
    for Asked { path, headers } in requests {
        let pairs: String = headers.iter().map(|(name, value)| format!("['{name}'] = '{value}', ")).collect();
        writeln!(text, "  {{ '{path}', {{ headers = {{ {pairs}}} }} }},").expect("room");
    }
    write!(
        text,
        "}}
t.case('all', function()
  local out = assert(io.open('{}', 'w'))
  for _, one in ipairs(asked) do
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
const LOGGED: [&str; 7] = ["X-Key", "Cookie", "X-Zone", "X-Api-Key", "X-Name", "X-What", "X-Priority"];

fn log_format() -> String {
    let headers: String = LOGGED.iter().map(|name| format!(" \"%{{{name}}}i\"")).collect();
    format!("%{{usec}}t %a \"%r\" %D{headers} %{{LB_MEMBER}}e")
}

fn start(backend: &Backend) -> (Httpd, PathBuf) {
    let mut builder = Httpd::builder()
        .children(1)
        .file("offline.conf", &configuration(backend.port()))
        .file("pick.lua", PICK)
        .config("Include offline.conf\nUseCanonicalName Off\nKeepAlive On\nMaxKeepAliveRequests 0")
        .config("Header always set X-Member \"expr=%{reqenv:LB_MEMBER}\"")
        .config(&format!("CustomLog sim.log \"{}\"", log_format().replace('"', "\\\"")));
    let lua = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lua");
    for (name, _) in SHIPPED {
        let name = format!("{name}.lua");
        let script = fs::read_to_string(lua.join(&name)).expect("a shipped script");
        builder = builder.file(&format!("lua/{name}"), &script);
    }
    let folder = builder.dir().to_owned();
    (builder.start(), folder)
}

/// Sends them one after the other; who served each.
fn serve(httpd: &Httpd, requests: &[Asked]) -> Vec<String> {
    let mut client = httpd.client();
    let one = |asked: &Asked| {
        let request = Request::get(&asked.path);
        let request = asked.headers.iter().fold(request, |request, (key, value)| request.header(key, value));
        let answer = client.send(&request);
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
    let requests = requests();
    let served = serve(&httpd, &requests);

    let out = folder.join("offline.txt");
    fs::write(folder.join("offline_test.lua"), suite(&requests, &out)).expect("write the test");
    lbctl(&folder, &["test", "offline_test.lua"]);
    let told = fs::read_to_string(&out).expect("what lbctl has told");
    let told: Vec<&str> = told.lines().collect();
    assert_eq!(told.len(), served.len());
    let differ: Vec<String> = requests
        .iter()
        .zip(served.iter().zip(&told))
        .filter(|(_, (served, told))| served != *told)
        .map(|(asked, (served, told))| {
            format!("{} {:?}: {served}, lbctl says {told}", asked.path, asked.headers)
        })
        .collect();
    let first = differ.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(differ.is_empty(), "{} of {} differ:\n{first}", differ.len(), served.len());
}

#[test]
fn a_simulation_of_the_modules_own_log_finds_the_members_that_it_names() {
    let backend = Backend::new("all");
    let (httpd, folder) = start(&backend);
    serve(&httpd, &requests());
    let log = folder.join("sim.log");
    let lines = || fs::read_to_string(&log).unwrap_or_default().lines().count();
    wait_until("the log has every request", Duration::from_secs(10), || lines() >= REQUESTS);
    let format = log_format();
    let words = lbctl(
        &folder,
        &["simulate", "--config", "offline.conf", "--against-log", "--log-format", &format, "sim.log"],
    );
    let found = format!("0 of {} requests (0.00 %) go to another member", lines());
    assert!(words.contains(&found), "{words}");
}
