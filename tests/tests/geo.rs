// SPDX-License-Identifier: Apache-2.0
//! Geography: clients are routed by the country of their address, databases are replaced while the
//! server runs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use server_tests::httpd::Builder;
use server_tests::{Backend, Client, Httpd, Mpm, Request, eventually, on_every_mpm, pool, wait_until};

const ONE_SECOND: Duration = Duration::from_secs(1);
const CITY: &str = "GeoIP2-City-Test.mmdb";
const ASN: &str = "GeoLite2-ASN-Test.mmdb";
const BROKEN_POINTERS: &str = "MaxMind-DB-test-broken-pointers-24.mmdb";
const INVALID_NODE_COUNT: &str = "GeoIP2-City-Test-Invalid-Node-Count.mmdb";

const CHINA: &str = "175.16.199.1";
const USA: &str = "216.160.83.56";
const BRITAIN: &str = "81.2.69.142";
const SWEDEN: &str = "89.160.20.112";
const JAPAN: &str = "2001:218::1";

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/geo/tests/data").join(name)
}

fn data(name: &str) -> Vec<u8> {
    fs::read(shipped(name)).expect("a test database")
}

/// The city database with China's code being another one.
fn relabelled(code: &[u8; 2]) -> Vec<u8> {
    let mut bytes = data(CITY);
    for at in 0..bytes.len() - 3 {
        if &bytes[at..at + 3] == b"\x42CN" {
            bytes[at + 1..at + 3].copy_from_slice(code);
        }
    }
    bytes
}

/// Replaces the server's database as updaters do: a new file and a rename.
fn replace(dir: &Path, bytes: &[u8]) {
    fs::write(dir.join("new.mmdb"), bytes).expect("write a database");
    fs::rename(dir.join("new.mmdb"), dir.join("city.mmdb")).expect("rename a database");
}

const REMOTE_IP: &str = "RemoteIPHeader X-Forwarded-For\nRemoteIPInternalProxy 127.0.0.1";

/// Answers 204 and what `lb.geo` says of the client, or of the address in the query, in `X-Geo`.
const TELL: &str = r#"
local names = { "country", "country_name", "continent", "city", "latitude", "longitude", "time_zone", "asn", "org" }
function tell(r)
  local place = lb.geo(r.args or r.useragent_ip)
  local parts = {}
  for _, name in ipairs(names) do
    if place and place[name] ~= nil then parts[#parts + 1] = name .. "=" .. tostring(place[name]) end
  end
  r.subprocess_env["GEO"] = place and table.concat(parts, ";") or "nil"
  return 204
end
"#;

fn telling(mpm: Mpm, files: &str) -> Builder {
    let builder = Httpd::builder()
        .mpm(mpm)
        .module("remoteip")
        .file("tell.lua", TELL)
        .config(REMOTE_IP)
        .config(&format!("LuaBalancerGeoIP {files}"))
        .config("<Location /tell>\n  LuaHookTranslate tell.lua tell\n  Header always set X-Geo \"%{GEO}e\"\n</Location>");
    replace(builder.dir(), &data(CITY));
    builder
}

fn told(client: &mut Client, address: &str) -> String {
    let response = client.send(&Request::get("/tell").header("X-Forwarded-For", address));
    response.header("X-Geo").unwrap_or_else(|| panic!("no X-Geo in {response:?}")).to_owned()
}

fn country(client: &mut Client) -> String {
    let told = told(client, CHINA);
    told.strip_prefix("country=").and_then(|rest| rest.split(';').next()).unwrap_or(&told).to_owned()
}

fn assert_in_service_within_a_second(clients: &mut BTreeMap<u32, Client>, replaced: Instant, code: &str) {
    for (pid, client) in clients {
        loop {
            let start = Instant::now();
            let got = country(client);
            if got == code {
                break;
            }
            let late = start.duration_since(replaced);
            assert!(late <= ONE_SECOND, "child {pid} says {got} {late:?} after {code} came");
        }
    }
}

#[test]
fn clients_are_routed_by_country_in_every_child() {
    let [china, usa, rest] = Backend::named(["china", "usa", "rest"]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../lua/geo.lua");
    let httpd = Httpd::builder()
        .module("remoteip")
        .config(REMOTE_IP)
        .config(&pool("app", &[(&china, "zone=china"), (&usa, "zone=usa"), (&rest, "zone=rest")], ""))
        .config(&format!("LuaBalancerGeoIP {}", shipped(CITY).display()))
        .config("<Location /probe>\n  LuaHookTranslate none\n</Location>")
        .config("LuaRegisterFunc none function(r) return 204 end")
        .config(&format!("LuaHookTranslate {script} select"))
        .start();
    for client in httpd.clients_in_children(2, "/probe").values_mut() {
        let mut from = |address: &str| {
            client.send(&Request::get("/x").header("X-Forwarded-For", address)).backend().to_owned()
        };
        assert_eq!(from(CHINA), "china");
        assert_eq!(from(USA), "usa");
        for address in [BRITAIN, JAPAN, "10.0.0.1", "192.0.2.1"] {
            assert_eq!(from(address), "rest", "{address}");
        }
        assert_eq!(from("::ffff:175.16.199.1"), "china");
        // mod_remoteip takes the last address that is not a proxy of ours: what a client claims
        // before it does not count.
        assert_eq!(from(&format!("{CHINA}, {USA}")), "usa");
        assert_eq!(client.get("/x").backend(), "rest", "127.0.0.1 is nowhere");
    }
    china.refuse();
    let response = httpd.client().send(&Request::get("/x").header("X-Forwarded-For", CHINA));
    assert_eq!(response.status, 200, "better far away than not at all");
    assert_ne!(response.backend(), "china");
}

#[test]
fn several_databases_are_one_answer() {
    let httpd =
        telling(Mpm::Event, &format!("city.mmdb {}\nLuaBalancerGeoIP city.mmdb", shipped(ASN).display()))
            .start();
    let mut client = httpd.client();
    assert_eq!(
        told(&mut client, SWEDEN),
        "country=SE;country_name=Sweden;continent=EU;city=Linköping;latitude=58.4167;longitude=15.6167;\
         time_zone=Europe/Stockholm;asn=29518;org=Bredband2 AB"
    );
    assert_eq!(told(&mut client, "1.128.0.1"), "asn=1221;org=Telstra Pty Ltd");
    assert!(told(&mut client, JAPAN).starts_with("country=JP;country_name=Japan;continent=AS;latitude="));
    for address in ["10.0.0.1", "192.168.3.4", "fd00::1"] {
        assert_eq!(told(&mut client, address), "nil", "{address}");
    }
}

#[test]
fn text_that_is_not_an_address_is_an_error_that_says_so() {
    let httpd = telling(Mpm::Event, "city.mmdb").start();
    let mut client = httpd.client();
    assert_eq!(client.get("/tell?fe80::1%eth0").header("X-Geo"), Some("nil"));
    for wrong in ["nonsense", "1.2.3", "175.16.199.1,10.0.0.1"] {
        assert_eq!(client.get(&format!("/tell?{wrong}")).status, 500, "{wrong}");
        httpd.wait_for_log(&format!(r"\[lua_balancer:error\].*tell\.lua:4.*'{wrong}' is not an IP address"));
    }
    let without = Httpd::builder()
        .file("tell.lua", TELL)
        .config("<Location /tell>\n  LuaHookTranslate tell.lua tell\n</Location>")
        .start();
    assert_eq!(without.client().get("/tell").status, 500);
    without.wait_for_log(r"lb\.geo needs a database, for example: LuaBalancerGeoIP");
}

on_every_mpm!(a_replaced_database_serves_in_all_children_within_a_second);

fn a_replaced_database_serves_in_all_children_within_a_second(mpm: Mpm) {
    let httpd = telling(mpm, "city.mmdb").start();
    let mut clients = httpd.clients_in_children(2, "/probe");
    assert_in_service_within_a_second(&mut clients, Instant::now(), "CN");
    replace(httpd.dir(), &relabelled(b"XA"));
    assert_in_service_within_a_second(&mut clients, Instant::now(), "XA");
    fs::write(httpd.dir().join("city.mmdb"), relabelled(b"XB")).expect("overwrite the database");
    assert_in_service_within_a_second(&mut clients, Instant::now(), "XB");
    httpd.wait_for_log_lines(r"\[lua_balancer:notice\].*city\.mmdb: a new GeoIP2-City is in service", 2);
    httpd.assert_no_crash();
}

#[test]
fn a_broken_database_is_not_taken_and_told_once() {
    let httpd = telling(Mpm::Event, "city.mmdb").start();
    let mut clients = httpd.clients_in_children(2, "/probe");
    replace(httpd.dir(), &relabelled(b"XA"));
    assert_in_service_within_a_second(&mut clients, Instant::now(), "XA");
    let whole = data(CITY);
    let refused = r"\[lua_balancer:error\].*city\.mmdb: is not a whole MaxMind database.*not taken";
    for (number, broken) in [&whole[..whole.len() / 2], &data(INVALID_NODE_COUNT)[..], b""].iter().enumerate()
    {
        replace(httpd.dir(), broken);
        httpd.wait_for_log_lines(refused, number + 1);
        let logged = Instant::now();
        wait_until("a second of traffic", ONE_SECOND * 4, || {
            for client in clients.values_mut() {
                assert_eq!(country(client), "XA");
            }
            logged.elapsed() > ONE_SECOND
        });
        assert_eq!(httpd.count_log(refused), number + 1, "one line for each broken file, in two children");
    }
    replace(httpd.dir(), &relabelled(b"XB"));
    assert_in_service_within_a_second(&mut clients, Instant::now(), "XB");
    fs::remove_file(httpd.dir().join("city.mmdb")).expect("remove the database");
    httpd.wait_for_log(r"\[lua_balancer:warn\].*city\.mmdb: is gone");
    for client in clients.values_mut() {
        assert_eq!(country(client), "XB");
    }
    replace(httpd.dir(), &relabelled(b"XC"));
    assert_in_service_within_a_second(&mut clients, Instant::now(), "XC");
    httpd.assert_no_crash();
}

/// The city database with one record broken that no sample of addresses meets.
fn broken_in_one_place() -> Vec<u8> {
    let (mut bytes, name) = (data(CITY), "Linköping".as_bytes());
    let at = bytes.windows(name.len()).position(|part| part == name).expect("a city's name");
    bytes[at + 4] = 0xff;
    bytes
}

on_every_mpm!(a_database_of_another_type_or_broken_in_one_place_takes_nobodys_place);

fn a_database_of_another_type_or_broken_in_one_place_takes_nobodys_place(mpm: Mpm) {
    let mut httpd = telling(mpm, "city.mmdb").start();
    for (bytes, why) in [
        (data(ASN), "is of type GeoLite2-ASN; expected GeoIP2-City as before"),
        (broken_in_one_place(), "is damaged behind "),
    ] {
        replace(httpd.dir(), &bytes);
        httpd.wait_for_log(&format!(r"city\.mmdb: {why}.*last good one goes on serving"));
        assert_eq!(country(&mut httpd.client()), "CN");
        httpd.graceful();
        httpd.wait_for_log(&format!(r"line \d+ of .*city\.mmdb: {why}.*last good one goes on serving"));
        assert_eq!(country(&mut httpd.client()), "CN");
    }
    replace(httpd.dir(), &relabelled(b"XA"));
    wait_until("the new database", ONE_SECOND * 10, || country(&mut httpd.client()) == "XA");
    httpd.assert_no_crash();
}

#[test]
fn a_restart_over_a_broken_database_goes_on_with_the_last_good_one() {
    let mut httpd = telling(Mpm::Event, "city.mmdb").start();
    assert_eq!(country(&mut httpd.client()), "CN");
    replace(httpd.dir(), &data(INVALID_NODE_COUNT));
    for n in 1..=2 {
        httpd.graceful();
        httpd.wait_for_log_lines(
            r"line \d+ of .*city\.mmdb: is not a whole.*last good one goes on serving",
            n,
        );
        assert_eq!(country(&mut httpd.client()), "CN");
    }
    assert!(!httpd.configtest().ok);
    replace(httpd.dir(), &relabelled(b"XA"));
    let new = |httpd: &Httpd| {
        eventually("the new database", ONE_SECOND * 5, || {
            Some(country(&mut httpd.client())).filter(|code| code == "XA")
        })
    };
    new(&httpd);
    httpd.restart();
    assert_eq!(country(&mut httpd.client()), "XA");
    httpd.edit_config("LuaBalancerGeoIP city.mmdb", "");
    httpd.restart();
    assert_eq!(httpd.client().get("/tell").status, 500, "the directive is gone");
    httpd.edit_config("<Location /tell>", "LuaBalancerGeoIP city.mmdb\n<Location /tell>");
    httpd.restart();
    assert_eq!(country(&mut httpd.client()), "XA");
    httpd.assert_no_crash();
}

#[test]
fn a_damaged_record_is_nil_and_told_once_a_child() {
    let files = format!("{} city.mmdb", shipped(BROKEN_POINTERS).display());
    let httpd = telling(Mpm::Event, &files).start();
    for client in httpd.clients_in_children(2, "/probe").values_mut() {
        for _ in 0..5 {
            assert_eq!(told(client, "1.1.1.16"), "nil");
        }
        assert_eq!(country(client), "CN", "the other database goes on");
    }
    let lines =
        httpd.count_log(r"\[lua_balancer:error\].*broken-pointers.*is damaged: looking up 1\.1\.1\.16 fails");
    assert_eq!(lines, 2, "one line in each of two children");
    httpd.assert_no_crash();
}

#[test]
fn a_database_that_breaks_in_places_is_told_once_after_the_first_start() {
    let builder = telling(Mpm::Event, "broken.mmdb city.mmdb");
    fs::write(builder.dir().join("broken.mmdb"), broken_in_one_place()).expect("write the database");
    let mut httpd = builder.start();
    let damaged = r"\[lua_balancer:error\].*broken\.mmdb: is damaged behind .*counts as unknown";
    httpd.wait_for_log(damaged);
    assert_eq!(country(&mut httpd.client()), "CN", "what it does not tell alone is unknown");
    httpd.graceful();
    assert_eq!(country(&mut httpd.client()), "CN");
    assert_eq!(httpd.count_log(damaged), 1, "in two children, and over a restart");
    assert_eq!(httpd.count_log(r"city\.mmdb: is damaged"), 0);
    httpd.assert_no_crash();
}

#[test]
fn scripts_may_ask_at_their_top_level() {
    let script = "local home = lb.geo('175.16.199.1').country\nfunction translate(r) return home == 'CN' and 204 or 500 end";
    let httpd =
        telling(Mpm::Event, "city.mmdb").file("home.lua", script).config("LuaHookTranslate home.lua").start();
    assert_eq!(httpd.client().get("/x").status, 204);
}

#[test]
fn a_wrong_directive_is_refused_with_file_and_line() {
    let builder = || {
        let builder = Httpd::builder();
        fs::write(builder.dir().join("half.mmdb"), &data(CITY)[..5000]).expect("write half a database");
        builder
    };
    let expected = "expected a MaxMind database";
    for (line, patterns) in [
        ("LuaBalancerGeoIP", &["expected one or more MaxMind databases", "for example"][..]),
        ("LuaBalancerGeoIP missing.mmdb", &["missing\\.mmdb: cannot be read", expected]),
        ("LuaBalancerGeoIP /tmp", &["/tmp: is not a regular file", expected]),
        ("LuaBalancerGeoIP httpd.conf", &["httpd\\.conf: is not a whole MaxMind database"]),
        ("LuaBalancerGeoIP half.mmdb", &["half\\.mmdb: is not a whole MaxMind database"]),
        ("LuaBalancerGeoIP \"\"", &["LuaBalancerGeoIP"]),
    ] {
        builder().config(line).configtest().assert_error_at(line, patterns);
    }
    let damaged = format!("LuaBalancerGeoIP {}", shipped(INVALID_NODE_COUNT).display());
    builder()
        .config(&damaged)
        .configtest()
        .assert_error_at(&damaged, &["Invalid-Node-Count.*is not a whole"]);
    let host = format!("<VirtualHost *>\nLuaBalancerGeoIP {}\n</VirtualHost>", shipped(CITY).display());
    builder().config(&host).configtest().assert_error_at("LuaBalancerGeoIP", &["outside of <VirtualHost>"]);
    let good = format!("LuaBalancerGeoIP {} {}", shipped(CITY).display(), shipped(ASN).display());
    let test = builder().config(&good).configtest();
    assert!(test.ok, "{}", test.output);
    assert!(builder().config("LuaBalancerGeoIP missing.mmdb").try_start().is_err());
}
