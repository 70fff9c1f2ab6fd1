// SPDX-License-Identifier: Apache-2.0
//! Explanations beside what a server then does.

use serde_json::{Value, json};
use server_tests::asked::{self, Asked, Asking, MEMBERS, PICK};
use server_tests::ports::ReservedPort;
use server_tests::{Backend, Builder, Httpd};

use super::{ask, explained, get, who};

/// Functions beside the usual ones.
const MORE: &str = "\
function user(r) return lb.pool('app'):member(r.user == 'alice' and 'a' or 'c') end
function counted(r)
  local n = lb.dict('counts'):incr('n', 1, 0)
  return lb.pool('app'):member(({ 'a', 'b', 'c' })[n % 3 + 1])
end
";

/// Pools beside the usual ones.
const POOLS: [(&str, &str); 4] = [
    ("first", "LuaBalancerMethod first"),
    ("weights", "LuaBalancerMethod rendezvous key=%{tolower:%{req:X-Key}}"),
    ("plain", "LuaBalancerMethod hash key=%{REMOTE_ADDR}"),
    ("latency", "LuaBalancerMethod least_latency"),
];

/// All of them.
fn pools() -> Vec<(&'static str, &'static str)> {
    asked::POOLS.into_iter().chain(POOLS).collect()
}

/// Methods that draw: the member is one of those that are considered.
const DRAW: [&str; 3] = ["random", "two", "latency"];

fn serving(backend: &Backend) -> Builder {
    let members = MEMBERS.replace("PORT", &backend.port().to_string());
    let mut text = String::from("LuaBalancerDict counts 1M\n");
    text += &asked::site(&pools(), &members, &["each", "list", "view", "odd", "counted"]);
    text += "ProxyPassMatch ^/m/(\\w+)$ lb://first/$1\n\
             <Location /handler>\n  SetHandler \"proxy:lb://first\"\n</Location>\n\
             <Location /late>\n  LuaHookSelect pick.lua user\n</Location>\n";
    Httpd::builder()
        .children(2)
        .with_member_states()
        .file("pick.lua", &format!("{PICK}{MORE}"))
        .config(&text)
        .config("UseCanonicalName Off\nKeepAlive On\nMaxKeepAliveRequests 0")
        .config("Header always set X-Member \"expr=%{reqenv:LB_MEMBER}\"")
}

/// Requests of a fixed seed.
fn requests(count: usize) -> Vec<Asked> {
    let pools = pools().into_iter().map(|(name, _)| format!("/pool/{name}"));
    let others = ["/pool/scripted", "/each", "/list", "/view", "/odd", "/counted", "/handler", "/late", "/m"];
    let asking = Asking {
        places: pools.chain(others.map(str::to_owned)).collect(),
        ends: &["/", "/x", "/%61b", "//c", "/d/../e"],
        headers: &[
            ("Cookie", &["SRV=.a", "SRV=.b", "SRV=.other", "SRV=.d", "SRV=.zz"]),
            ("X-Name", &["a", "c", "d", "zz"]),
            ("X-What", &["error", "page", "nobody", "403", "410"]),
        ],
        clients: &["127.0.0.1"],
    };
    asking.requests(count)
}

#[test]
fn a_thousand_requests_get_the_member_that_was_named_before_each() {
    let backend = Backend::new("all");
    let httpd = serving(&backend).start();
    let mut client = httpd.client();
    let mut differ = Vec::new();
    for asked in requests(1000) {
        let Asked { path, headers, .. } = &asked;
        let all: serde_json::Map<String, Value> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let document = explained(&httpd, &json!({ "uri": path, "headers": all, "host": "127.0.0.1" }));
        let answer = client.send(&asked.request());
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

/// httpd keeps its `Listen` lines in turn from the last to the first.
#[test]
fn the_port_leads_to_its_virtual_host_and_without_one_the_first_that_is_listened_at() {
    let backend = Backend::new("all");
    let builder = Httpd::builder();
    let (own, others) = (builder.port(), [(); 2].map(|()| ReservedPort::new()));
    let [plain, secure] = others.each_ref().map(ReservedPort::port);
    let host = |name: &str, at: u16| {
        format!(
            "<LuaBalancerPool {name}>\nLuaBalancerMember http://127.0.0.1:{} name={name}\n</LuaBalancerPool>\n\
             <VirtualHost *:{at}>\nProxyPass / lb://{name}/\n</VirtualHost>\n",
            backend.port()
        )
    };
    let hosts = host("own", own) + &host("plain", plain) + &host("secure", secure);
    let listen = format!("Listen 127.0.0.1:{plain}\nListen 127.0.0.1:{secure} https\n");
    let httpd = builder.with_member_states().config(&(listen + &hosts)).start();
    for (uri, host, member) in [
        ("/", None, "own"),
        ("/", Some("www.example.org".to_owned()), "own"),
        ("/", Some(format!("www.example.org:{plain}")), "plain"),
        (&*format!("http://www.example.org:{plain}/"), None, "plain"),
        ("http://www.example.org/", None, "own"),
        ("https://www.example.org/", None, "secure"),
        // As behind something that listens at another port for it.
        ("http://www.example.org:1/", None, "own"),
    ] {
        let document = explained(&httpd, &json!({ "uri": uri, "host": host }));
        assert_eq!(who(&document), member, "{uri} {host:?}: {document}");
    }
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
