// SPDX-License-Identifier: Apache-2.0
use super::*;
use proptest::prelude::*;

fn spec(line: &str) -> MemberSpec {
    MemberSpec::from_line(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn error(line: &str) -> String {
    MemberSpec::from_line(line).expect_err(line).to_string()
}

#[test]
fn defaults_come_from_the_url() {
    let plain = spec("http://10.0.0.1:8080");
    assert_eq!(
        (plain.name.as_str(), plain.route.as_str(), plain.weight),
        ("10.0.0.1:8080", "10.0.0.1:8080", 100)
    );
    assert_eq!(spec("http://h").name, "h:80");
    assert_eq!(spec("unix:/run/a.sock|http://localhost").name, "localhost:80");
    assert_eq!(spec("http://h name=a").route, "a");
    assert_eq!(spec("http://h route=r name=a").route, "r");
}

#[test]
fn a_balancer_member_line_carries_over() {
    let line = "ajp://h:8009/x loadfactor=2.5 route=r1 redirect=r2 lbset=3 status=+H-D max=20 smax=10 min=1 ttl=60 acquire=3000 \
                timeout=30 connectiontimeout=500ms ping=1 keepalive=On disablereuse=Off flushpackets=auto flushwait=20 \
                iobuffersize=8192 receivebuffersize=0 responsefieldsize=16K secret=s3 upgrade=ANY addressttl=60 retry=5";
    let spec = spec(line);
    assert_eq!(
        (spec.weight, spec.lbset, spec.flags, spec.first_ejection_ms),
        (250, 3, Status::STANDBY, Some(5000))
    );
    let expected = ConnectionSettings {
        max: Some(20),
        smax: Some(10),
        min: Some(1),
        ttl_ms: Some(60_000),
        acquire_ms: Some(3000),
        timeout_ms: Some(30_000),
        connectiontimeout_ms: Some(500),
        ping_ms: Some(1000),
        keepalive: Some(true),
        disablereuse: Some(false),
        flushpackets: Some(2),
        flushwait_ms: Some(20),
        iobuffersize: Some(8192),
        receivebuffersize: Some(0),
        responsefieldsize: Some(16384),
        secret: Some("s3".into()),
        upgrade: Some("*".into()),
        addressttl_s: Some(60),
    };
    assert_eq!(spec.connection, expected);
    assert_eq!(self::spec("http://h enablereuse=off").connection.disablereuse, Some(true));
    assert_eq!(self::spec("http://h addressttl=-1").connection.addressttl_s, None);
}

#[test]
fn twins_get_names_of_their_own() {
    let mut names: Vec<String> = Vec::new();
    for (url, name) in [
        ("http://h:8080/a", "h:8080"),
        ("http://h:8080/b", "h:8080-2"),
        ("http://h:8080", "h:8080-3"),
        ("unix:/a|http:", "localhost:80"),
        ("unix:/b|http://localhost", "localhost:80-2"),
    ] {
        let spec = MemberSpec::parse_beside(url, &[] as &[&str], |name| names.iter().any(|n| n == name));
        let spec = spec.unwrap();
        assert_eq!((spec.name.as_str(), spec.route.as_str()), (name, name), "{url}");
        names.push(spec.name);
    }
    // A given name is taken as it is; the pool says whether it is allowed.
    let named = MemberSpec::parse_beside("http://h:8080", &["NAME=h:8080"], |_| true).unwrap();
    assert_eq!(named.name, "h:8080");
}

#[test]
fn long_hosts_have_names_as_well() {
    let host = "h".repeat(200);
    let first = spec(&format!("http://{host}:65535"));
    assert_eq!(first.name, format!("{}:65535", "h".repeat(57)));
    let second =
        MemberSpec::parse_beside(&format!("http://{host}:65535"), &[] as &[&str], |name| name == first.name);
    assert_eq!(second.unwrap().name, format!("{}:655-2", "h".repeat(57)));
}

#[test]
fn status_letters_combine_as_in_mod_proxy() {
    for (value, flags) in [
        ("D", Status::DISABLED),
        ("+ds", Status::DISABLED | Status::STOPPED),
        ("+DI-D", Status::IGNORE_ERRORS),
        ("-H", 0),
        ("DSIHRNE", Status::ADMIN),
    ] {
        assert_eq!(spec(&format!("http://h status={value}")).flags, flags, "{value}");
    }
    for value in ["", "+", "X", "C", "D+", "1", "é"] {
        assert!(error(&format!("http://h status={value}")).contains("D S I H R N E"), "{value}");
    }
}

#[test]
fn wrong_keys_and_values_are_refused_with_what_was_expected() {
    for (line, part) in [
        ("", "expected a URL"),
        ("http://h weight", "expected key=value"),
        ("http://h wieght=1", "did you mean weight?"),
        ("http://h colour=1", "expected one of name, weight"),
        ("http://h =1", "expected one of"),
        ("http://h weight=-1", "0 to 65535"),
        ("http://h weight=65536", "0 to 65535"),
        ("http://h weight=1 loadfactor=1", "weight and loadfactor"),
        ("http://h weight=1 WEIGHT=1", "weight and WEIGHT"),
        ("http://h enablereuse=on disablereuse=on", "enablereuse and disablereuse"),
        ("http://h meta.a=1 meta.a=2", "meta.a"),
        ("http://h meta.=1", "meta.KEY"),
        ("http://h \"meta.a b=1\"", "meta.KEY"),
        ("http://h lbset=100", "0 to 99"),
        ("http://h name=", "1 to 63"),
        ("http://h name=a/b", "letters"),
        ("http://h name=\u{e9}", "letters"),
        ("http://h name=.", "a URL can have"),
        ("http://h name=..", "a URL can have"),
        ("http://h route=a;b", "semicolons"),
        ("http://h timeout=0", "at least"),
        ("http://h ttl=0", "at least"),
        ("http://h acquire=0", "at least"),
        ("http://h flushwait=1001", "1000"),
        ("http://h iobuffersize=100", "512"),
        ("http://h keepalive=maybe", "on or off"),
        ("http://h flushpackets=1", "auto"),
        ("http://h addressttl=1500ms", "whole seconds"),
        ("http://h addressttl=2147483648", "whole seconds"),
        ("http://h max=2147483648", "2147483647"),
        ("http://h max_inflight=4294967296", "0 to"),
        ("http://h upgrade=0123456789abcdef", "15"),
        ("http://h zone=\"a", "closing"),
    ] {
        let text = error(line);
        assert!(
            text.contains(part) && text.contains("expected") | text.contains("did you mean"),
            "{line}: {text}"
        );
    }
    assert!(error(&format!("http://h name={}", "n".repeat(64))).contains("63"));
    assert!(MemberSpec::parse("http://h", &["zone=a\nb"]).is_err());
}

fn text() -> impl Strategy<Value = String> {
    "[ -~é]{1,20}"
}

fn route() -> impl Strategy<Value = String> {
    "[!#-+\\-:<-~é]{1,20}"
}

prop_compose! {
    fn connection()(
        numbers in proptest::array::uniform3(proptest::option::of(0..=i32::MAX as u32)),
        buffers in proptest::array::uniform3(proptest::option::of(prop_oneof![Just(0), 512..=i32::MAX as u32])),
        times in proptest::array::uniform5(proptest::option::of(1000..=units::MAX_MS)),
        switches in proptest::array::uniform2(proptest::option::of(any::<bool>())),
        flushpackets in proptest::option::of(0u8..=2),
        flushwait_ms in proptest::option::of(0u64..=1000),
        texts in (proptest::option::of("[ -~]{1,63}"), proptest::option::of("[a-z ]{1,15}")),
        addressttl_s in proptest::option::of(0..=i32::MAX as u32),
    ) -> ConnectionSettings {
        ConnectionSettings {
            max: numbers[0], smax: numbers[1], min: numbers[2],
            ttl_ms: times[0], acquire_ms: times[1], timeout_ms: times[2], connectiontimeout_ms: times[3], ping_ms: times[4],
            keepalive: switches[0], disablereuse: switches[1], flushpackets, flushwait_ms,
            iobuffersize: buffers[0], receivebuffersize: buffers[1], responsefieldsize: buffers[2],
            secret: texts.0, upgrade: texts.1.filter(|text| text != "any"), addressttl_s,
        }
    }
}

prop_compose! {
    fn member()(
        url in "(http|ajp|uwsgi|unix:/s[!-{]{0,9}\\|https)://[a-z]{1,9}(:[1-9][0-9]{0,3})?(/[!-\"$->@-~]{0,8})?",
        name in proptest::option::of("[a-zA-Z0-9_.:@~\\[\\]-]{1,20}"),
        weight in 0..=crate::status::MAX_WEIGHT_HUNDREDTHS,
        routes in (proptest::option::of(route()), proptest::option::of(route())),
        zone in proptest::option::of(text()),
        numbers in (0u8..=99, 0u64..128, any::<u32>()),
        times in proptest::array::uniform2(proptest::option::of(0..=units::MAX_MS)),
        meta in proptest::collection::btree_map("[a-zA-Z0-9_.-]{1,8}", "[ -~é]{0,20}", 0..4),
        connection in connection(),
    ) -> MemberSpec {
        let mut spec = MemberSpec::new(MemberUrl::parse(&url).unwrap());
        spec.name = name.filter(|name| !name.trim_matches('.').is_empty()).unwrap_or(spec.name);
        spec.weight = weight;
        spec.route = routes.0.unwrap_or_else(|| spec.name.clone());
        spec.redirect = routes.1;
        spec.zone = zone;
        spec.lbset = numbers.0;
        spec.flags = STATUS_LETTERS.iter().enumerate().map(|(at, (_, flag))| flag * (numbers.1 >> at & 1)).sum();
        spec.max_inflight = numbers.2;
        spec.slow_start_ms = times[0];
        spec.first_ejection_ms = times[1];
        spec.meta = meta.into_iter().collect();
        spec.connection = connection;
        spec
    }
}

proptest! {
    #[test]
    fn a_line_gives_the_same_member_back(spec in member()) {
        let line = spec.to_line();
        prop_assert_eq!(MemberSpec::from_line(&line), Ok(spec), "{}", line);
    }

    #[test]
    fn nothing_makes_it_panic(line in "(http://h )?([a-z._]{0,9}=?[ -~é]{0,9} ?){0,4}|.{0,60}") {
        let _ = MemberSpec::from_line(&line).map(|spec| assert_eq!(MemberSpec::from_line(&spec.to_line()), Ok(spec)));
    }
}
