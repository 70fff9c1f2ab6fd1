// SPDX-License-Identifier: Apache-2.0
//! The scripts of a published article about load balancing with Apache and Lua, as they are printed
//! (`article/*.lua`), with the addresses of real servers: each runs, in at least two children, and
//! routes.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use server_tests::{
    Backend, Builder, Client, Httpd, Mpm, Request, Response, on_every_mpm, patience, pool, wait_until,
};

const BALANCER: &str = include_str!("article/balancer.lua");
const IS_SERVER_HEALTHY: &str = include_str!("article/is_server_healthy.lua");
const GET_BACKEND_SERVER: &str = include_str!("article/get_backend_server.lua");
const PERIODIC_HEALTH_CHECK: &str = include_str!("article/periodic_health_check.lua");
const LEAST_CONNECTIONS: &str = include_str!("article/least_connections.lua");
const ROUTE_BY_URL: &str = include_str!("article/route_by_url.lua");
const ROUTE_BY_LOCATION: &str = include_str!("article/route_by_location.lua");

const SOON: Duration = Duration::from_secs(15);
/// Where the first script chooses, and where it has chosen.
const CHOICE: &str = "-- 选择负载均衡算法,这里使用加权轮询\n";
const CHOSEN: &str = "local backend = get_backend_server()\n";

/// The servers in place of the article's.
fn with_servers(script: &str, backends: &[Backend; 3]) -> String {
    backends.iter().enumerate().fold(script.to_owned(), |script, (at, backend)| {
        let printed = format!("host = \"192.168.1.1{at}\", port = 8080");
        assert!(script.contains(&printed), "no {printed}");
        script.replace(&printed, &format!("host = \"127.0.0.1\", port = {}", backend.port()))
    })
}

/// The first script with another way to choose, named by `function`.
fn choosing_by(fragments: &[&str], function: &str) -> String {
    let (head, _) = BALANCER.split_once(CHOICE).expect("the choice");
    let (_, tail) = BALANCER.split_once(CHOSEN).expect("what follows the choice");
    format!("{head}{}local backend = {function}()\n{tail}", fragments.concat())
}

/// Sends the request there instead of redirecting the client.
fn proxied(script: &str) -> String {
    let redirect = "ngx.redirect(backend_url, ngx.HTTP_MOVED_TEMPORARILY)";
    assert!(script.contains(redirect), "no redirect");
    script.replace(redirect, "return \"http://\" .. backend.host .. \":\" .. backend.port")
}

/// The article's configuration.
const HOOKS: &str = "LuaHookTranslate balancer_redirect\nLuaRegisterFunc balancer_redirect function() require(\"balancer\") end";

fn redirecting(mpm: Mpm, script: &str, backends: &[Backend; 3]) -> Builder {
    let builder = Httpd::builder().mpm(mpm).file("balancer.lua", &with_servers(script, backends));
    let host = format!(
        "<VirtualHost 127.0.0.1:{}>\nServerName balancer.example.com\nProxyPreserveHost On\nProxyRequests Off\n{HOOKS}\n\
         Header always set X-Said \"expr=%{{req:X-Backend-Server}} %{{req:X-Load-Balancer}} %{{req:Host}}\"\n\
         <Location /--who>\nLuaHookTranslate nobody\n</Location>\nLuaRegisterFunc nobody function() return 204 end\n</VirtualHost>",
        builder.port()
    );
    builder.config(&host)
}

fn in_two_children(httpd: &Httpd) -> Vec<Client> {
    httpd.clients_in_children(2, "/--who").into_values().collect()
}

/// The backend that a redirect names, which is followed.
fn redirected_to(response: &Response, backends: &[Backend; 3]) -> String {
    assert_eq!(response.status, 302, "{}", response.text());
    let to = response.header("Location").expect("Location");
    let backend = backends.iter().find(|backend| to == format!("{}/", backend.url()));
    let backend = backend.unwrap_or_else(|| panic!("{to} is nobody"));
    let address = backend.url().replace("http://", "");
    let said = response.header("X-Said").expect("X-Said");
    assert_eq!(said, format!("{address} Apache+Lua {address}"));
    assert_eq!(Client::new(backend.port()).get("/").backend(), backend.name());
    backend.name().to_owned()
}

fn shares(
    clients: &mut [Client],
    n: usize,
    mut who: impl FnMut(&Response) -> String,
) -> BTreeMap<String, usize> {
    let children = clients.len();
    let names = (0..n).map(|at| who(&clients[at % children].get(&format!("/page/{at}"))));
    server_tests::client::count(names.collect::<Vec<_>>())
}

/// At weights 1/2/1, within six standard deviations of 400 draws.
fn assert_one_two_one(shares: &BTreeMap<String, usize>) {
    let share = |name: &str| shares.get(name).copied().unwrap_or(0);
    assert!(
        share("a").abs_diff(100) < 55 && share("b").abs_diff(200) < 60 && share("c").abs_diff(100) < 55,
        "{shares:?}"
    );
}

on_every_mpm!(the_weighted_choice_redirects_as_printed);

fn the_weighted_choice_redirects_as_printed(mpm: Mpm) {
    let backends = Backend::named(["a", "b", "c"]);
    let httpd = redirecting(mpm, BALANCER, &backends).start();
    let mut clients = in_two_children(&httpd);
    let shares = shares(&mut clients, 400, |response| redirected_to(response, &backends));
    assert_one_two_one(&shares);
    assert_eq!(httpd.client().get("/with%20blank?and=query").status, 302);
    assert_eq!(httpd.count_log(r"\[lua_balancer:error\]"), 0);
    httpd.assert_no_crash();
}

#[test]
fn a_saved_weight_changes_the_shares_without_a_restart() {
    let backends = Backend::named(["a", "b", "c"]);
    let httpd = redirecting(Mpm::Event, BALANCER, &backends).start();
    let mut clients = in_two_children(&httpd);
    let edited = BALANCER
        .replace("weight = 2", "weight = 0")
        .replace("1.12\", port = 8080, weight = 1", "1.12\", port = 8080, weight = 0");
    httpd.write("balancer.lua", &with_servers(&edited, &backends));
    let took = wait_until("only the first server", SOON, || {
        shares(&mut clients, 40, |response| redirected_to(response, &backends))
            == BTreeMap::from([("a".into(), 40)])
    });
    assert!(took < patience(Duration::from_secs(2)), "{took:?}");
}

/// The same scripts with a target returned instead of the redirect.
fn proxying(script: &str, backends: &[Backend; 3]) -> Builder {
    Httpd::builder()
        .file("balancer.lua", &with_servers(&proxied(script), backends))
        .config("LuaHookTranslate balancer.lua -")
        .config("<Location /--who>\nLuaHookTranslate nobody\n</Location>\nLuaRegisterFunc nobody function() return 204 end")
}

fn name(response: &Response) -> String {
    assert_eq!(response.status, 200);
    response.backend().to_owned()
}

#[test]
fn the_weighted_choice_can_proxy_over_kept_connections() {
    let backends = Backend::named(["a", "b", "c"]);
    let httpd = proxying(BALANCER, &backends).start();
    assert_one_two_one(&shares(&mut in_two_children(&httpd), 400, name));
    let opened: usize = backends.iter().map(Backend::connections).sum();
    assert!(opened <= 12, "400 requests opened {opened} connections");
}

on_every_mpm!(a_check_by_socket_in_a_request_is_refused_with_words);

/// It would hold up a thread of the server for as long as a member pleases; the periodic check
/// below is its place.
fn a_check_by_socket_in_a_request_is_refused_with_words(mpm: Mpm) {
    let script = choosing_by(&[IS_SERVER_HEALTHY, GET_BACKEND_SERVER], "get_backend_server");
    let backends = Backend::named(["a", "b", "c"]);
    let httpd = redirecting(mpm, &script, &backends).start();
    for client in &mut in_two_children(&httpd) {
        assert_eq!(client.get("/page").status, 500);
    }
    httpd.wait_for_log_lines(
        r"balancer\.lua:\d+: .*socket\.tcp works in timers and health checks only \(LuaBalancerTimer, lb\.every, LuaBalancerHealthCheck lua\)",
        2,
    );
    assert!(backends.iter().all(|backend| backend.connections() == 0));
    httpd.assert_no_crash();
}

#[test]
fn the_periodic_check_runs_every_interval_in_one_child() {
    let backends = Backend::named(["a", "b", "c"]);
    let (servers, _) = BALANCER.split_once("local current_index").expect("the servers");
    // The interval alone is shorter, and both comments that stand for an action are one.
    let check = PERIODIC_HEALTH_CHECK.replace("at(10,", "at(0.1,").replacen(
        "-- ...",
        "lb.dict('state'):set(i, 'up')",
        1,
    );
    let check = check.replacen("-- ...", "lb.dict('state'):set(i, 'down')", 1);
    let serve = "function translate(r)\n  r.headers_out['X-State'] = ('%s %s %s'):format(lb.dict('state'):get(1), \
                 lb.dict('state'):get(2), lb.dict('state'):get(3))\n  return 204\nend\n";
    let script = [servers, IS_SERVER_HEALTHY, &check, serve].concat();
    let httpd = Httpd::builder()
        .file("checked.lua", &with_servers(&script, &backends))
        .config("LuaBalancerDict state 64K\nLuaHookTranslate checked.lua")
        .start();
    let mut clients: Vec<Client> = httpd.clients_in_children(2, "/probe").into_values().collect();
    let mut wait = |state: &str| {
        let what = format!("the servers to be {state}");
        for client in &mut clients {
            wait_until(&what, SOON, || client.get("/").header("X-State") == Some(state));
        }
    };
    wait("up up up");
    backends[1].refuse();
    wait("up down up");
    httpd.wait_for_log(&format!("Server 127.0.0.1:{} is unhealthy: connection refused", backends[1].port()));
    backends[1].answer();
    wait("up up up");
    let lines = httpd.error_log();
    let pids: std::collections::BTreeSet<&str> = lines
        .lines()
        .filter(|line| line.contains("is unhealthy"))
        .filter_map(|line| line.split("[pid ").nth(1)?.split([':', ']']).next())
        .collect();
    assert_eq!(pids.len(), 1, "{pids:?}");
}

/// Members of a pool in place of the article's table, and their counts before the choice, as the
/// article asks for.
const MEMBERS: &str = "local backend_servers = {}\nfor m in lb.pool('app'):members() do backend_servers[#backend_servers + 1] = m end\n\
                       local server_count = #backend_servers\n";

#[test]
fn least_connections_follows_the_counts_of_all_children() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let counts = "for i = 1, server_count do server_connections[backend_servers[i]] = backend_servers[i].inflight end\n";
    let script = [MEMBERS, LEAST_CONNECTIONS, counts, "return least_connections()\n"].concat();
    let httpd = Httpd::builder()
        .with_member_states()
        .file("least.lua", &script)
        .config(&pool("app", &[(&a, ""), (&b, ""), (&c, "")], ""))
        .config("LuaHookTranslate least.lua -")
        .start();
    let mut clients: Vec<Client> = httpd.clients_in_children(2, "/--state/app").into_values().collect();
    assert_eq!(clients[0].sequence("/", 3), ["a", "a", "a"], "nothing is in flight: the first");
    for backend in [&a, &b, &c] {
        backend.hang();
    }
    let port = httpd.port();
    let mut waiting = Vec::new();
    for (count, order) in [(1, "a"), (2, "b"), (3, "c"), (4, "a"), (5, "b")] {
        waiting.push(thread::spawn(move || Client::new(port).get("/held").backend().to_owned()));
        wait_until(&format!("request {count}, at {order}"), SOON, || httpd.inflight("app") == count);
    }
    let inflight = httpd.members("app").into_iter().map(|(name, seen)| (name, seen.inflight));
    assert_eq!(
        inflight.collect::<BTreeMap<_, _>>(),
        BTreeMap::from([("a".into(), 2), ("b".into(), 2), ("c".into(), 1)])
    );
    c.answer();
    wait_until("c to be idle", SOON, || httpd.member("app", "c").inflight == 0);
    for client in &mut clients {
        assert_eq!(client.get("/").backend(), "c");
    }
    a.answer();
    b.answer();
    let served: Vec<String> = waiting.into_iter().map(|thread| thread.join().expect("an answer")).collect();
    assert_eq!(served, ["a", "b", "c", "a", "b"]);
}

#[test]
fn the_url_chooses_as_printed() {
    let backends = Backend::named(["a", "b", "c"]);
    let script = choosing_by(&[ROUTE_BY_URL], "route_by_url");
    let proxy = proxying(&script, &backends).start();
    let redirect = redirecting(Mpm::Event, &script, &backends).start();
    for (path, expected) in [
        ("/api", "a"),
        ("/api/users?id=1", "a"),
        ("/v1/api", "a"),
        ("/static/logo.png", "b"),
        ("/index.html", "c"),
        ("/?next=/api", "a"),
        ("/%61pi", "c"),
        ("/", "c"),
    ] {
        for client in &mut in_two_children(&proxy) {
            assert_eq!(name(&client.get(path)), expected, "{path}");
        }
        for client in &mut in_two_children(&redirect) {
            assert_eq!(redirected_to(&client.get(path), &backends), expected, "{path}");
        }
    }
}

#[test]
fn the_location_chooses_as_printed() {
    let backends = Backend::named(["a", "b", "c"]);
    let database = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/geo/tests/data/GeoIP2-City-Test.mmdb");
    let look_up = "local names = { CN = \"China\", US = \"USA\" }\nlocal function get_location_by_ip(ip)\n  \
                   local place = lb.geo(ip)\n  return place and names[place.country]\nend\n";
    let script = choosing_by(&[look_up, ROUTE_BY_LOCATION], "route_by_location");
    let httpd = proxying(&script, &backends)
        .module("remoteip")
        .config("RemoteIPHeader X-Forwarded-For\nRemoteIPInternalProxy 127.0.0.1")
        .config(&format!("LuaBalancerGeoIP {database}"))
        .start();
    for client in &mut in_two_children(&httpd) {
        for (address, expected) in [
            ("175.16.199.1", "a"),
            ("216.160.83.56", "b"),
            ("81.2.69.142", "c"),
            ("192.0.2.1", "c"),
            ("2001:218::1", "c"),
        ] {
            let response = client.send(&Request::get("/x").header("X-Forwarded-For", address));
            assert_eq!(name(&response), expected, "{address}");
        }
        assert_eq!(name(&client.get("/x")), "c", "a private address");
    }
}
