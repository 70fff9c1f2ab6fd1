// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::settings::{CheckKind, FailureKinds, HealthCheck, Method, Outlier, Set, Sticky};
use proptest::option::of;
use proptest::prelude::*;

/// Reads `Directive arguments` and checks that the settings survive being written.
fn read(line: &str) -> Result<PoolSettings, ParseError> {
    let words = words::split(line)?;
    let mut settings = PoolSettings::default();
    settings.set_directive(&words[0], &words[1..])?;
    assert_eq!(settings.check(), Ok(()), "{line}");
    assert_eq!(PoolSettings::from_text(&settings.to_text()).as_ref(), Ok(&settings), "{line}");
    Ok(settings)
}

fn good(line: &str) -> PoolSettings {
    read(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

#[test]
fn defaults_write_nothing() {
    assert_eq!(PoolSettings::default().to_text(), "");
    for line in ["LuaBalancerMethod round_robin", "LuaBalancerHealthCheck none", "LuaBalancerOutlier on"] {
        assert_eq!(good(line), PoolSettings::default(), "{line}");
    }
}

#[test]
fn methods() {
    for name in
        ["round_robin", "random", "least_connections", "power_of_two", "least_latency", "first", "maglev"]
    {
        assert_eq!(good(&format!("LuaBalancerMethod {name}")).method.name(), name);
    }
    let settings = good("LuaBalancerMethod consistent_hash key=\"%{REMOTE_ADDR} x\" balance_factor=1.25");
    assert_eq!(settings.method, Method::ConsistentHash { balance_factor: Some(1.25) });
    assert_eq!(settings.key.as_deref(), Some("%{REMOTE_ADDR} x"));
    let lua = |script: &str, function: &str| Method::Lua { script: script.into(), function: function.into() };
    assert_eq!(good("LuaBalancerMethod lua lua/a.lua").method, lua("lua/a.lua", "select"));
    assert_eq!(good("LuaBalancerMethod lua 'my script.lua' pick.me").method, lua("my script.lua", "pick.me"));
}

#[test]
fn health_checks() {
    let check = good(
        "LuaBalancerHealthCheck https interval=500ms timeout=1 rise=1 fall=5 initial=down jitter=0 port=81 \
         uri=/h?x=1 method=HEAD host=a.b:1 header=\"X-A: b c\" header='X-B:' expect=200-299,404 body=\"^ok \\d\" \
         follow=yes verify=off sni=a.b ca=/etc/ca.pem",
    )
    .health
    .unwrap();
    let want = HealthCheck {
        interval_ms: 500,
        timeout_ms: 1000,
        rise: 1,
        fall: 5,
        initial_up: false,
        jitter_percent: 0,
        port: Some(81),
        uri: "/h?x=1".into(),
        method: "HEAD".into(),
        host: Some("a.b:1".into()),
        headers: vec![("X-A".into(), "b c".into()), ("X-B".into(), String::new())],
        expect: vec![(200, 299), (404, 404)],
        body: Some("^ok \\d".into()),
        follow: true,
        verify: false,
        sni: Some("a.b".into()),
        ca: Some("/etc/ca.pem".into()),
        ..HealthCheck::new(CheckKind::Https)
    };
    assert_eq!(check, want);
    assert_eq!(good("LuaBalancerHealthCheck tcp").health, Some(HealthCheck::new(CheckKind::Tcp)));
    assert_eq!(good("LuaBalancerHealthCheck agent port=9000").health.unwrap().port, Some(9000));
    let lua = good("LuaBalancerHealthCheck lua function=f script=a.lua").health.unwrap();
    assert_eq!(lua.script, Some(("a.lua".into(), "f".into())));
    let lua = good("LuaBalancerHealthCheck lua script=a.lua").health.unwrap();
    assert_eq!(lua.script, Some(("a.lua".into(), "check".into())));
}

#[test]
fn outliers() {
    let outlier =
        good("LuaBalancerOutlier on failures=5 max_percent=10% count=connect,5xx,404 ejection=10m").outlier;
    assert_eq!((outlier.failures, outlier.max_percent), (5, 10));
    assert_eq!((outlier.ejection_ms, outlier.max_ejection_ms), (600_000, 600_000));
    let count = FailureKinds { connect: true, any_5xx: true, codes: vec![404], ..FailureKinds::default() };
    assert_eq!(outlier.count, count);
    assert!(!good("LuaBalancerOutlier off").outlier.on);
    assert_eq!(good("LuaBalancerOutlier on count=none").outlier.count, FailureKinds::default());
}

#[test]
fn sticky_sessions() {
    let sticky = good("LuaBalancerSticky cookie=LB").sticky.unwrap();
    assert_eq!(sticky, Sticky { cookie: "LB".into(), ..Sticky::default() });
    let sticky = good(
        "LuaBalancerSticky cookie=LB param=sid ttl=1h path=/app domain=.Example.org secure=on httponly=off samesite=none force=on",
    );
    let want = Sticky {
        cookie: "LB".into(),
        param: Some("sid".into()),
        ttl_s: Some(3600),
        path: "/app".into(),
        domain: Some("Example.org".into()),
        secure: Some(true),
        httponly: false,
        samesite: "None".into(),
        force: true,
    };
    assert_eq!(sticky.sticky, Some(want));
    for domain in ["", ".", "..a", "a;b", "a b", "a/b", "é"] {
        let line = format!("LuaBalancerSticky cookie=LB \"domain={domain}\"");
        assert!(read(&line).is_err(), "{line}");
    }
}

#[test]
fn sets_add_up() {
    let mut settings =
        good("LuaBalancerSet retries=0 retry_on=connect,reset,timeout zone=eu panic=50% slow_start=30s");
    let more = ["on_empty=502", "reverse=off", "queue=250ms", "retries=7"].map(str::to_owned);
    settings.set_directive("luabalancerset", &more).unwrap();
    let want = Set {
        retries: 7,
        retry_on: FailureKinds { connect: true, reset: true, timeout: true, ..FailureKinds::default() },
        zone: Some("eu".into()),
        panic_percent: 50,
        slow_start_ms: 30_000,
        on_empty: 502,
        reverse: false,
        queue_ms: 250,
    };
    assert_eq!(settings.set, want);
    let before = settings.clone();
    assert!(settings.set_directive("LuaBalancerSet", &["retries=1".into(), "on_empty=1".into()]).is_err());
    assert_eq!(settings, before);
}

#[test]
fn refusals() {
    for line in [
        "LuaBalancerFoo x",
        "LuaBalancerMethod",
        "LuaBalancerMethod roundrobin",
        "LuaBalancerMethod random key=x",
        "LuaBalancerMethod hash key=",
        "LuaBalancerMethod hash key=a key=b",
        "LuaBalancerMethod hash balance_factor=2",
        "LuaBalancerMethod hash x",
        "LuaBalancerMethod hash x=y",
        "LuaBalancerMethod consistent_hash balance_factor=1",
        "LuaBalancerMethod consistent_hash balance_factor=inf",
        "LuaBalancerMethod consistent_hash balance_factor=nan",
        "LuaBalancerMethod consistent_hash balance_factor=-2",
        "LuaBalancerMethod lua",
        "LuaBalancerMethod lua a.lua 1x",
        "LuaBalancerMethod lua a.lua f g",
        "LuaBalancerHealthCheck",
        "LuaBalancerHealthCheck ping",
        "LuaBalancerHealthCheck none interval=1s",
        "LuaBalancerHealthCheck tcp uri=/",
        "LuaBalancerHealthCheck http sni=a",
        "LuaBalancerHealthCheck http interval=0",
        "LuaBalancerHealthCheck http timeout=0s",
        "LuaBalancerHealthCheck http interval=1s interval=2s",
        "LuaBalancerHealthCheck http rise=0",
        "LuaBalancerHealthCheck http fall=-1",
        "LuaBalancerHealthCheck http initial=on",
        "LuaBalancerHealthCheck http jitter=101",
        "LuaBalancerHealthCheck http port=0",
        "LuaBalancerHealthCheck http port=65536",
        "LuaBalancerHealthCheck http uri=health",
        "LuaBalancerHealthCheck http 'uri=/a b'",
        "LuaBalancerHealthCheck http method=",
        "LuaBalancerHealthCheck http 'host=a b'",
        "LuaBalancerHealthCheck http header=X",
        "LuaBalancerHealthCheck http header=\"X Y: z\"",
        "LuaBalancerHealthCheck http header=\"X: a\nY: b\"",
        "LuaBalancerHealthCheck http header=\"Host: b\"",
        "LuaBalancerHealthCheck http expect=",
        "LuaBalancerHealthCheck http expect=99",
        "LuaBalancerHealthCheck http expect=300-200",
        "LuaBalancerHealthCheck http expect=200-",
        "LuaBalancerHealthCheck http body=(",
        "LuaBalancerHealthCheck http follow=maybe",
        "LuaBalancerHealthCheck lua",
        "LuaBalancerHealthCheck lua function=f",
        "LuaBalancerHealthCheck lua script=a.lua function=1",
        "LuaBalancerOutlier",
        "LuaBalancerOutlier maybe",
        "LuaBalancerOutlier on failures=0",
        "LuaBalancerOutlier on ejection=0",
        "LuaBalancerOutlier on ejection=2m max_ejection=1m",
        "LuaBalancerOutlier on max_percent=101",
        "LuaBalancerOutlier on count=",
        "LuaBalancerOutlier on count=6xx",
        "LuaBalancerOutlier on count=600",
        "LuaBalancerSticky",
        "LuaBalancerSticky param=x",
        "LuaBalancerSticky cookie=a;b",
        "LuaBalancerSticky cookie=A|a",
        "LuaBalancerSticky cookie=a param=a/b",
        "LuaBalancerSticky cookie=a ttl=0",
        "LuaBalancerSticky cookie=a ttl=500ms",
        "LuaBalancerSticky cookie=a path=x",
        "LuaBalancerSticky cookie=a 'path=/;x'",
        "LuaBalancerSticky cookie=a secure=maybe",
        "LuaBalancerSticky cookie=a samesite=x",
        "LuaBalancerSticky cookie=a samesite=None secure=off",
        "LuaBalancerSet",
        "LuaBalancerSet retries",
        "LuaBalancerSet retires=1",
        "LuaBalancerSet retries=-1",
        "LuaBalancerSet retry_on=5xx",
        "LuaBalancerSet zone=",
        "LuaBalancerSet panic=101",
        "LuaBalancerSet on_empty=200",
        "LuaBalancerSet reverse=maybe",
        "LuaBalancerSet queue=x",
    ] {
        assert!(read(line).is_err(), "{line}");
    }
    let error = read("LuaBalancerSet on_empty=200").unwrap_err().to_string();
    assert!(error.contains("on_empty=200") && error.contains("400 to 599"), "{error}");
}

#[test]
fn options_of_scripts() {
    let mut settings = PoolSettings::default();
    for (group, key, value) in [
        ("", "key", "%{REMOTE_ADDR}"),
        ("", "method", "consistent_hash"),
        ("", "balance_factor", "1.5"),
        ("", "retries", "1"),
        ("", "reverse", "false"),
        ("", "queue", "0.5"),
        ("health", "type", "http"),
        ("health", "uri", "/health"),
        ("health", "header", "A: b"),
        ("outlier", "on", "true"),
        ("outlier", "failures", "9"),
        ("sticky", "param", "sid"),
        ("sticky", "cookie", "LB"),
    ] {
        settings.set_option(group, key, value).unwrap_or_else(|error| panic!("{key}: {error}"));
    }
    settings.check().unwrap();
    let want = "LuaBalancerMethod consistent_hash balance_factor=1.5 key=%{REMOTE_ADDR}\n\
                LuaBalancerHealthCheck http uri=/health header=\"A: b\"\n\
                LuaBalancerOutlier on failures=9\n\
                LuaBalancerSticky cookie=LB param=sid\n\
                LuaBalancerSet retries=1 reverse=off queue=500ms\n";
    assert_eq!(settings.to_text(), want);
    assert_eq!(PoolSettings::from_text(want).as_ref(), Ok(&settings));
    // A key may stay behind when the method changes.
    settings.set_option("", "method", "lua a.lua f").unwrap();
    assert_eq!(PoolSettings::from_text(&settings.to_text()), Ok(settings));

    let mut settings = PoolSettings::default();
    for (group, key, value) in [
        ("", "metod", "hash"),
        ("", "method", "x"),
        ("", "method", "lua"),
        ("", "balance_factor", "1.5"),
        ("", "cookie", "x"),
        ("health", "uri", "/"),
        ("health", "type", "x"),
        ("outlier", "x", "1"),
        ("group", "x", "1"),
    ] {
        assert!(settings.set_option(group, key, value).is_err(), "{group} {key}");
    }
    assert_eq!(settings, PoolSettings::default());
    settings.set_option("sticky", "param", "sid").unwrap();
    assert!(settings.check().is_err());
    let mut settings = PoolSettings::default();
    settings.set_option("health", "type", "lua").unwrap();
    assert!(settings.check().is_err());
}

fn text() -> impl Strategy<Value = String> {
    "[ -~é]{1,12}"
}

fn word() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9.:\\\\=é-]{1,8}"
}

fn function() -> impl Strategy<Value = String> {
    "[a-z_][a-z0-9]{0,5}"
}

fn kinds(answers: bool) -> impl Strategy<Value = FailureKinds> {
    let codes = proptest::collection::btree_set(100u16..600, 0..4);
    (any::<[bool; 4]>(), codes).prop_map(move |([connect, reset, timeout, any_5xx], codes)| FailureKinds {
        connect,
        reset,
        timeout,
        any_5xx: any_5xx && answers,
        codes: codes.into_iter().filter(|_| answers).collect(),
    })
}

fn method() -> impl Strategy<Value = Method> {
    prop_oneof![
        Just(Method::RoundRobin),
        Just(Method::Random),
        Just(Method::LeastConnections),
        Just(Method::PowerOfTwo),
        Just(Method::LeastLatency),
        Just(Method::First),
        Just(Method::Maglev),
        Just(Method::Rendezvous),
        Just(Method::Hash),
        of(1.000_001f64..1000.0).prop_map(|balance_factor| Method::ConsistentHash { balance_factor }),
        (text(), function()).prop_map(|(script, function)| Method::Lua { script, function }),
    ]
}

prop_compose! {
    fn http()(
        uri in "/[!-\"$-~]{0,9}", method in "[A-Z]{1,6}", host in of(word()),
        headers in proptest::collection::vec(("X-[a-z]{1,4}", "([!-~]([ -~]{0,5}[!-~])?)?"), 0..3),
        expect in proptest::collection::vec((100u16..350, 350u16..600), 1..3),
        body in of("[a-z .\\\\d]{1,5}".prop_filter("valid", |text| regex::Regex::new(text).is_ok())),
        follow: bool, tls in of((any::<bool>(), of(word()), of(text()))),
    ) -> HealthCheck {
        let mut check = HealthCheck::new(if tls.is_some() { CheckKind::Https } else { CheckKind::Http });
        let (verify, sni, ca) = tls.unwrap_or((true, None, None));
        check = HealthCheck { uri, method, host, headers, expect, body, follow, verify, sni, ca, ..check };
        check
    }
}

prop_compose! {
    fn health()(
        kind in prop_oneof![
            http(),
            Just(HealthCheck::new(CheckKind::Tcp)),
            Just(HealthCheck::new(CheckKind::Agent)),
            (text(), function()).prop_map(|script| HealthCheck {
                script: Some(script), ..HealthCheck::new(CheckKind::Lua)
            }),
        ],
        interval_ms in 1u64..100_000, timeout_ms in 1u64..100_000, rise in 1u32..=1000, fall in 1u32..=1000,
        initial_up: bool, jitter_percent in 0u8..=100, port in of(1u16..),
    ) -> HealthCheck {
        HealthCheck { interval_ms, timeout_ms, rise, fall, initial_up, jitter_percent, port, ..kind }
    }
}

prop_compose! {
    fn outlier()(
        on: bool, failures in 1u32..9, ejection_ms in 1u64..400_000, more in 0u64..400_000, max_percent in 0u8..=100,
        count in kinds(true),
    ) -> Outlier {
        Outlier { on, failures, ejection_ms, max_ejection_ms: ejection_ms + more, max_percent, count }
    }
}

prop_compose! {
    fn sticky()(
        cookie in "[A-Za-z0-9'_.-]{1,8}", param in of("[a-z.'\\\\é-]{1,8}".prop_map(|name| name.replace('\'', ""))),
        ttl_s in of(1u64..100_000), path in "/[!-:<-~]{0,8}", secure in of(any::<bool>()), httponly: bool,
        domain in of("[a-z0-9_-][a-z0-9._-]{0,8}"), strict: bool, force: bool,
    ) -> Sticky {
        let samesite = if strict { "Strict" } else { "Lax" }.to_owned();
        let param = param.filter(|name| !name.is_empty());
        Sticky { cookie, param, ttl_s, path, domain, secure, httponly, samesite, force }
    }
}

prop_compose! {
    fn set()(
        retries in 0u32..=1000, retry_on in kinds(false), zone in of(word()), panic_percent in 0u8..=100,
        slow_start_ms in 0u64..100_000, on_empty in 400u16..600, reverse: bool, queue_ms in 0u64..9000,
    ) -> Set {
        Set { retries, retry_on, zone, panic_percent, slow_start_ms, on_empty, reverse, queue_ms }
    }
}

proptest! {
    #[test]
    fn written_settings_are_read_back(
        method in method(), key in of(text()), health in of(health()), outlier in outlier(), sticky in of(sticky()),
        set in set(),
    ) {
        let settings = PoolSettings { method, key, health, outlier, sticky, set, discovery: Vec::new(), share: None };
        let text = settings.to_text();
        prop_assert_eq!(PoolSettings::from_text(&text), Ok(settings), "{}", text);
    }

    #[test]
    fn nothing_panics(
        directive in "LuaBalancer(Method|HealthCheck|Outlier|Sticky|Set)",
        words in proptest::collection::vec("(http|on|lua|hash|[a-z_]{1,9})?=?\\PC{0,6}", 0..4),
    ) {
        let _ = PoolSettings::default().set_directive(&directive, &words);
    }
}
