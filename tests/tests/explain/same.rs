// SPDX-License-Identifier: Apache-2.0
//! Explanations beside what a server then does.

use std::fmt::Write as _;

use serde_json::{Value, json};
use server_tests::{Backend, Builder, Dice, Httpd, Request};

use super::{ask, explained, get, who};

const MEMBERS: &str = "  LuaBalancerMember http://127.0.0.1:PORT/1 name=a weight=5 zone=eu meta.version=1
  LuaBalancerMember http://127.0.0.1:PORT/2 name=b zone=eu meta.version=2
  LuaBalancerMember http://127.0.0.1:PORT/3 name=c zone=us weight=2.5 route=other meta.version=2
  LuaBalancerMember http://127.0.0.1:PORT/4 name=d status=+D
  LuaBalancerMember http://127.0.0.1:PORT/5 name=e status=+N
  LuaBalancerMember http://127.0.0.1:PORT/6 name=f lbset=1
";

const PICK: &str = "\
function each(r)
  local app = lb.pool('each')
  return { app:where{ zone = 'us' }, app:member('e'), app }
end
function list(r) local app = lb.pool('list') return { app:member('d'), app:member('e'), app:member('a') } end
function view(r) return lb.pool('view'):except('a'):round_robin() end
function by(pool, r) return pool:member(r.headers_in['X-Name'] or 'b') end
function user(r) return lb.pool('app'):member(r.user == 'alice' and 'a' or 'c') end
function counted(r)
  local n = lb.dict('counts'):incr('n', 1, 0)
  return lb.pool('app'):member(({ 'a', 'b', 'c' })[n % 3 + 1])
end
function odd(r)
  local what = r.headers_in['X-What']
  if what == 'error' then error('so it is') end
  if what == 'page' then r:puts('x') return 404 end
  if what == 'nobody' then return lb.pool('view'):where{ zone = 'none' }:first() end
  return tonumber(what)
end
";

/// Pools by their names, with what they say.
const POOLS: [(&str, &str); 15] = [
    ("app", ""),
    ("first", "LuaBalancerMethod first"),
    ("least", "LuaBalancerMethod least_connections"),
    ("ring", "LuaBalancerMethod consistent_hash key=%{REQUEST_URI}"),
    ("bounded", "LuaBalancerMethod consistent_hash balance_factor=1.25 key=%{req:X-Key}"),
    ("maglev", "LuaBalancerMethod maglev key=%{req:X-Key}-%{QUERY_STRING}"),
    ("weights", "LuaBalancerMethod rendezvous key=%{tolower:%{req:X-Key}}"),
    ("plain", "LuaBalancerMethod hash key=%{REMOTE_ADDR}"),
    ("sticky", "LuaBalancerSticky cookie=SRV param=srv"),
    ("near", "LuaBalancerSet zone=us"),
    ("random", "LuaBalancerMethod random"),
    ("two", "LuaBalancerMethod power_of_two"),
    ("latency", "LuaBalancerMethod least_latency"),
    ("each", ""),
    ("list", ""),
];

/// Methods that draw: the member is one of those that are considered.
const DRAW: [&str; 3] = ["random", "two", "latency"];

fn serving(backend: &Backend) -> Builder {
    let members = MEMBERS.replace("PORT", &backend.port().to_string());
    let mut text = String::from("LuaBalancerDict counts 1M\n");
    for (name, line) in POOLS.iter().chain(&[("view", ""), ("scripted", "LuaBalancerMethod lua pick.lua by")])
    {
        writeln!(text, "<LuaBalancerPool {name}>\n{members}  {line}\n</LuaBalancerPool>").expect("room");
        writeln!(text, "ProxyPass /pool/{name} lb://{name}").expect("room");
    }
    for function in ["each", "list", "view", "odd", "counted"] {
        writeln!(text, "<Location /{function}>\n  LuaHookTranslate pick.lua {function}\n</Location>")
            .expect("room");
    }
    text += "ProxyPassMatch ^/m/(\\w+)$ lb://first/$1\n\
             <Location /handler>\n  SetHandler \"proxy:lb://first\"\n</Location>\n\
             <Location /late>\n  LuaHookSelect pick.lua user\n</Location>\n";
    Httpd::builder()
        .children(2)
        .with_member_states()
        .file("pick.lua", PICK)
        .config(&text)
        .config("UseCanonicalName Off\nKeepAlive On\nMaxKeepAliveRequests 0")
        .config("Header always set X-Member \"expr=%{reqenv:LB_MEMBER}\"")
}

/// Requests of a fixed seed: path, and pairs of headers.
fn requests(count: usize) -> Vec<(String, Vec<(&'static str, String)>)> {
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let mut below = move |bound| dice.below(bound);
    let pools = POOLS.iter().map(|(name, _)| format!("/pool/{name}"));
    let others = ["/pool/scripted", "/each", "/list", "/view", "/odd", "/counted", "/handler", "/late", "/m"];
    let places: Vec<String> = pools.chain(others.map(str::to_owned)).collect();
    let one = |_| {
        let place = &places[below(places.len())];
        let rest = ["/", "/x", "/%61b", "//c", "/d/../e"][below(5)];
        let path = format!("{place}{rest}?n={}", below(300));
        let mut headers = vec![("X-Key", format!("Key{}", below(500)))];
        match below(4) {
            0 => headers.push(("Cookie", format!("SRV=.{}", ["a", "b", "other", "d", "zz"][below(5)]))),
            1 => headers.push(("X-Name", ["a", "c", "d", "zz"][below(4)].into())),
            2 => headers.push(("X-What", ["error", "page", "nobody", "403", "410"][below(5)].into())),
            _ => {}
        }
        (path, headers)
    };
    (0..count).map(one).collect()
}

#[test]
fn a_thousand_requests_get_the_member_that_was_named_before_each() {
    let backend = Backend::new("all");
    let httpd = serving(&backend).start();
    let mut client = httpd.client();
    let mut differ = Vec::new();
    for (path, headers) in requests(1000) {
        let all: serde_json::Map<String, Value> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let document = explained(&httpd, &json!({ "uri": path, "headers": all, "host": "127.0.0.1" }));
        let request =
            headers.iter().fold(Request::get(&path), |request, (key, value)| request.header(key, value));
        let answer = client.send(&request);
        let served = answer.header("X-Member").filter(|name| !name.is_empty());
        let served = served.map_or_else(|| answer.status.to_string(), str::to_owned);
        let draws = DRAW.iter().any(|name| path.starts_with(&format!("/pool/{name}/")));
        let candidates = document["candidates"].as_array().expect("a list");
        let considered =
            candidates.iter().any(|one| one["member"] == served.as_str() && one["considered"] == true);
        if who(&document) != served && !(draws && considered) {
            differ.push(format!("{path} {headers:?}: {served}, explained as {document}"));
        }
    }
    let first: Vec<&String> = differ.iter().take(5).collect();
    assert!(differ.is_empty(), "{} differ:\n{first:#?}", differ.len());
}

#[test]
fn explanations_move_no_cursor_counter_or_dictionary() {
    let backend = Backend::new("all");
    let httpd = serving(&backend).start();
    let mut client = httpd.client();
    for path in ["/pool/app/", "/counted", "/view"] {
        client.get(path);
    }
    let before = httpd.snapshot();
    let paths = ["/pool/app/", "/counted", "/view", "/pool/scripted", "/each", "/pool/random/"];
    let first: Vec<String> = paths.iter().map(|path| who(&explained(&httpd, &get(path)))).collect();
    for _ in 0..20 {
        let again: Vec<String> = paths.iter().map(|path| who(&explained(&httpd, &get(path)))).collect();
        assert_eq!(again[..5], first[..5]);
    }
    assert_eq!(httpd.snapshot(), before);
    let served: Vec<String> = paths[..5]
        .iter()
        .map(|path| client.get(path).header("X-Member").unwrap_or_default().to_owned())
        .collect();
    assert_eq!(served, first[..5]);
}

#[test]
fn an_explanation_says_who_decides_and_among_whom() {
    let backend = Backend::new("all");
    let httpd = serving(&backend).start();
    let view = explained(&httpd, &get("/view/x"));
    assert_eq!(view["hook"]["directive"], "LuaHookTranslate", "{view}");
    assert_eq!(view["hook"]["function"], "view");
    assert_eq!(view["hook"]["line"], 6);
    assert_eq!(view["hook"]["version"], 1);
    assert!(view["hook"]["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{view}");
    assert_eq!(view["decision"]["pool"], "view");
    assert_eq!(view["decision"]["view"], "except a");
    assert_eq!(view["decision"]["method"], "round_robin");
    let app = explained(&httpd, &get("/pool/app/"));
    assert_eq!(app["hook"], Value::Null);
    let because = app["decision"]["because"].as_str().unwrap_or_default();
    assert!(because.starts_with("ProxyPass /pool/app lb://app: round_robin"), "{app}");
    let why = |name: &str| {
        let candidates = app["candidates"].as_array().expect("a list");
        candidates.iter().find(|one| one["member"] == name).expect("the member")["why"].clone()
    };
    assert_eq!([why("d"), why("f")], ["disabled", "others go first: by zone, lbset, or as spare or standby"]);
    assert_eq!(app["then"].as_array().map(Vec::len), Some(2), "{app}");
    let late = explained(&httpd, &json!({ "uri": "/late", "user": "alice" }));
    assert_eq!(
        (late["decision"]["member"].as_str(), who(&explained(&httpd, &get("/late")))),
        (Some("a"), "c".into())
    );
    assert_eq!(late["hook"]["directive"], "LuaHookSelect");
    let sticky = explained(&httpd, &json!({ "uri": "/pool/sticky/", "headers": { "Cookie": "SRV=.other" } }));
    assert_eq!(
        (sticky["session"].as_str(), sticky["decision"]["member"].as_str()),
        (Some("other"), Some("c"))
    );
    assert_eq!(sticky["decision"]["method"], "sticky");
    let named = explained(&httpd, &get("/m/x"));
    assert_eq!(named["decision"]["pool"], "first", "{named}");
    let nobody = explained(&httpd, &get("/nobodys"));
    assert_eq!((&nobody["decision"]["member"], &nobody["decision"]["status"]), (&Value::Null, &Value::Null));
    let error = explained(&httpd, &json!({ "uri": "/odd", "headers": { "X-What": "error" } }));
    assert_eq!(error["decision"]["status"], 500);
    assert!(error["decision"]["because"].as_str().unwrap_or_default().contains("so it is"), "{error}");
}

#[test]
fn the_host_leads_to_its_virtual_host() {
    let backend = Backend::new("all");
    let port = backend.port();
    let builder = Httpd::builder();
    let own = builder.port();
    let hosts = ["one", "two"].map(|name| {
        format!(
            "<LuaBalancerPool {name}>\nLuaBalancerMember http://127.0.0.1:{port} name={name}\n</LuaBalancerPool>\n\
             <VirtualHost *:{own}>\nServerName {name}.example\nServerAlias *.{name}.example\nProxyPass / lb://{name}/\n</VirtualHost>"
        )
    });
    let httpd = builder.with_member_states().config(&hosts.join("\n")).start();
    for (host, member) in [
        ("one.example", "one"),
        ("two.example", "two"),
        ("x.TWO.example", "two"),
        ("other.example", "one"),
        (&*format!("two.example:{own}"), "two"),
    ] {
        let document = explained(&httpd, &json!({ "uri": "/", "host": host }));
        assert_eq!(who(&document), member, "{host}: {document}");
    }
    let document = explained(&httpd, &get("http://two.example/x"));
    assert_eq!(who(&document), "two", "{document}");
}

#[test]
fn unknown_facts_are_listed_and_not_guessed() {
    let backend = Backend::new("all");
    let text = format!(
        "<LuaBalancerPool app>\nLuaBalancerMember http://127.0.0.1:{} name=a\n</LuaBalancerPool>\n\
         RewriteEngine On\nRewriteRule ^/rewritten lb://app/ [P]\n\
         <Location /if>\n<If \"%{{HTTP_HOST}} == 'x'\">\nSetHandler none\n</If>\n</Location>\n\
         <Location /tls>\nLuaHookTranslate tls.lua\n</Location>",
        backend.port()
    );
    let script = "function translate(r)\n  local c = r:ssl_var_lookup('SSL_CIPHER')\n  lb.pool('app'):member('a'):set_weight(3)\n  return lb.pool('app')\nend\n";
    let httpd =
        Httpd::builder().with_member_states().module("rewrite").file("tls.lua", script).config(&text).start();
    let unknown = |path: &str| explained(&httpd, &get(path))["unknown"].to_string();
    assert!(unknown("/rewritten").contains("mod_rewrite"), "{}", unknown("/rewritten"));
    assert!(unknown("/if").contains("<If>"), "{}", unknown("/if"));
    let tls = unknown("/tls");
    assert!(tls.contains("TLS") && tls.contains("status of members"), "{tls}");
    assert_eq!(httpd.member("app", "a").weight, 1);
}

#[test]
fn odd_urls_get_the_answer_that_httpd_gives() {
    let backend = Backend::new("all");
    let httpd = serving(&backend).start();
    for uri in
        ["/%00", "/pool/app/%2f", "/pool/app/..%2f", "/../x", "/%zz", "//pool//first/", "/pool/./first/"]
    {
        let document = explained(&httpd, &get(uri));
        let answer = httpd.client().get(uri);
        let served = answer.header("X-Member").filter(|name| !name.is_empty());
        let served = served.map_or_else(|| answer.status.to_string(), str::to_owned);
        assert_eq!(who(&document), served, "{uri}: {document}");
    }
    let star = explained(&httpd, &json!({ "method": "OPTIONS", "uri": "*" }));
    assert_eq!(star["decision"]["member"], Value::Null, "{star}");
    assert_eq!(ask(&httpd, &json!({ "uri": "*" })).status, 422);
    assert_eq!(ask(&httpd, &json!({ "uri": "/", "host": "a b" })).status, 422);
}
