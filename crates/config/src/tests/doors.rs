// SPDX-License-Identifier: Apache-2.0
//! The directives about doors.

use super::{Reader, Stand};
use crate::{Admin, Config, Group, Histograms, MemberSeries, Metrics, Sampling, Section, Socket, SocketPath};

fn refused(stand: Stand, line: &str) -> String {
    match Reader::default().read(stand, line) {
        Err(text) => text,
        Ok(()) => panic!("{line} is not refused"),
    }
}

fn read(lines: &[&str]) -> Config {
    let mut reader = Reader::default();
    reader.main(lines);
    reader.config()
}

fn path(config: &Config) -> &str {
    match &config.socket.path {
        SocketPath::At(path, _) => path,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_wrong_line_about_a_door_says_what_was_expected() {
    let long = format!("LuaBalancerSocket /{}", "x".repeat(107));
    let cases: &[(&str, &str)] = &[
        ("LuaBalancerSocket", "expected a path or none, for example LuaBalancerSocket /run/"),
        ("LuaBalancerSocket \"\"", "expected a path or none first, found ''"),
        ("LuaBalancerSocket mode=0600", "expected a path or none first, found 'mode=0600'"),
        ("LuaBalancerSocket a.sock 0600", "unknown key in '0600': expected mode= or group=NAME"),
        ("LuaBalancerSocket a.sock owner=me", "unknown key in 'owner=me'"),
        ("LuaBalancerSocket a.sock mode=rw", "mode=rw is not a file mode: expected an octal number"),
        ("LuaBalancerSocket a.sock mode=0888", "mode=0888 is not a file mode"),
        ("LuaBalancerSocket a.sock mode=4755", "mode=4755 is not a file mode"),
        ("LuaBalancerSocket a.sock mode=+60", "mode=+60 is not a file mode"),
        ("LuaBalancerSocket a.sock mode=6", "mode=6 is not a file mode"),
        ("LuaBalancerSocket a.sock group=", "unknown key in 'group='"),
        ("LuaBalancerSocket a.sock group=nobodys", "group=nobodys: there is no such group"),
        ("LuaBalancerSocket none mode=0600", "none takes no keys"),
        (&long, "is too long for a socket: expected at most 107 bytes, found 108"),
        ("LuaBalancerMetrics", "expected off, or listen= and other keys, for example LuaBalancerMetrics"),
        ("LuaBalancerMetrics on", "unknown key in 'on': expected off, or listen="),
        ("LuaBalancerMetrics off listen=127.0.0.1:9", "unknown key in 'off'"),
        ("LuaBalancerMetrics listen=9117", "listen=9117 is not an address with a port: expected one such as"),
        ("LuaBalancerMetrics listen=localhost:9117", "listen=localhost:9117 is not an address with a port"),
        ("LuaBalancerMetrics listen=::1:9117", "listen=::1:9117 is not an address with a port"),
        ("LuaBalancerMetrics listen=127.0.0.1:0", "listen=127.0.0.1:0 is not an address with a port"),
        ("LuaBalancerMetrics listen=127.0.0.1:65536", "is not an address with a port"),
        ("LuaBalancerMetrics members=some", "members=: expected auto or on or off, found 'some'"),
        ("LuaBalancerMetrics histograms=on", "histograms=: expected members or pools or off, found 'on'"),
        ("LuaBalancerMetrics max_series=0", "max_series=0 is not a number of series: expected 1 or more"),
        ("LuaBalancerMetrics max_series=-1", "max_series=-1 is not a number of series"),
        ("LuaBalancerMetrics port=9117", "unknown key in 'port=9117'"),
        (
            "LuaBalancerDecisions",
            "expected off, or size=, sample= and always=, for example LuaBalancerDecisions",
        ),
        ("LuaBalancerDecisions on", "unknown key in 'on': expected off, or size=, sample= and always="),
        ("LuaBalancerDecisions off size=5", "unknown key in 'off'"),
        ("LuaBalancerDecisions size=0", "size=0: expected a number of decisions from 1 to 65536"),
        ("LuaBalancerDecisions size=65537", "size=65537: expected a number of decisions"),
        ("LuaBalancerDecisions size=+5", "size=+5: expected a number of decisions"),
        ("LuaBalancerDecisions sample=101%", "sample=101% is not a percentage"),
        ("LuaBalancerDecisions sample=0.001%", "sample=0.001% is not a percentage"),
        (
            "LuaBalancerDecisions always=",
            "always=: expected errors, retries, both with a comma, or none, found ''",
        ),
        ("LuaBalancerDecisions always=errors,none", "found 'none'"),
        ("LuaBalancerDecisions always=slow", "found 'slow'"),
        ("LuaBalancerDecisions size=5 sample=1% size=6", "size= is given twice, for example LuaBalancerDec"),
        ("LuaBalancerDecisions always=errors always=retries", "always= is given twice"),
        (
            "LuaBalancerMetrics members=on members=on",
            "members= is given twice, for example LuaBalancerMetrics",
        ),
        (
            "LuaBalancerSocket a.sock mode=0600 mode=0660",
            "mode= is given twice, for example LuaBalancerSocket",
        ),
        ("LuaBalancerAdmin on anonymous=on anonymous=off", "anonymous= is given twice, for example"),
        ("LuaBalancerStateFile a.json max_age=1d max_age=2d", "max_age= is given twice, for example"),
        ("LuaBalancerAdmin", "expected on or off, for example LuaBalancerAdmin on"),
        ("LuaBalancerAdmin yes", "expected on or off, found 'yes'"),
        ("LuaBalancerAdmin off anonymous=on", "off takes no keys"),
        ("LuaBalancerAdmin on anonymous", "unknown key in 'anonymous'"),
        ("LuaBalancerAdmin on anonymous=maybe", "anonymous=: expected on or off, found 'maybe'"),
        ("LuaBalancerAdmin on origin=*", "origin=* is not the origin of a page"),
        ("LuaBalancerAdmin on origin=https://", "origin=https:// is not the origin of a page"),
        ("LuaBalancerAdmin on origin=https://a/b", "origin=https://a/b is not the origin of a page"),
        ("LuaBalancerAdmin on origin=ftp://a", "origin=ftp://a is not the origin of a page"),
        ("LuaBalancerAdmin on origin=https://a\tb", "unknown key in 'b'"),
        ("LuaBalancerAdmin on user=me", "unknown key in 'user=me': expected anonymous=on or origin="),
    ];
    for (line, expected) in cases {
        let text = refused(Stand::Main, line);
        assert!(text.contains(expected), "{line}\n{text}");
        let name = line.split(' ').next().unwrap_or_default();
        assert!(text.starts_with(name), "{line}\n{text}");
    }
}

#[test]
fn doors_belong_to_the_server_as_a_whole_and_who_may_change_to_a_place() {
    for line in ["LuaBalancerSocket none", "LuaBalancerMetrics off"] {
        let text = refused(Stand::Host, line);
        assert!(text.ends_with("write it outside of <VirtualHost>"), "{text}");
    }
    let mut reader = Reader::default();
    reader.main(&["LuaBalancerAdmin off"]);
    reader.at(Stand::Host, &["LuaBalancerAdmin on"]);
    reader.at(Stand::Section, &["LuaBalancerAdmin on anonymous=on"]);
    let (main, host, section) = (reader.main, reader.host, reader.section);
    let merged = Section::merged(&main, &section, |_| None);
    let config = reader.config();
    let admin = |section: Section<'_>| config.admin(section.admin.unwrap()).unwrap().clone();
    assert_eq!(admin(main), Admin::default());
    assert_eq!(admin(host), Admin { on: true, ..Admin::default() });
    assert_eq!(admin(merged), Admin { on: true, anonymous: true, origin: None });
    assert!(Section::default().admin.is_none());
}

#[test]
fn the_socket_is_in_the_runtime_folder_with_the_rights_of_its_owner() {
    let config = read(&[]);
    assert_eq!(config.socket, Socket { path: SocketPath::Default, mode: 0o600, group: None });
    let config = read(&["LuaBalancerSocket own.sock"]);
    assert_eq!((path(&config), config.socket.mode), ("/run/own.sock", 0o600));
    let config = read(&["LuaBalancerSocket /x/own.sock mode=0666"]);
    assert_eq!((path(&config), config.socket.mode), ("/x/own.sock", 0o666));
    assert_eq!(read(&["LuaBalancerSocket None"]).socket.path, SocketPath::None);
    let config = read(&["LuaBalancerSocket none", "LuaBalancerSocket last.sock"]);
    assert_eq!(path(&config), "/run/last.sock");
}

#[test]
fn a_group_has_the_rights_of_the_owner_unless_others_are_given() {
    let admins = Some(Group { name: "admins".into(), id: 77 });
    let config = read(&["LuaBalancerSocket a.sock group=admins"]);
    assert_eq!((config.socket.mode, &config.socket.group), (0o660, &admins));
    for line in
        ["LuaBalancerSocket a.sock mode=640 group=admins", "LuaBalancerSocket a.sock group=admins mode=0640"]
    {
        let config = read(&[line]);
        assert_eq!((config.socket.mode, &config.socket.group), (0o640, &admins));
    }
}

#[test]
fn metrics_take_all_their_keys() {
    assert_eq!(read(&[]).metrics, Metrics::default());
    assert_eq!(read(&["LuaBalancerMetrics OFF"]).metrics, Metrics { counts: false, ..Metrics::default() });
    let config = read(&["LuaBalancerMetrics listen=[::1]:9117 members=on histograms=pools max_series=9"]);
    let wanted = Metrics {
        counts: true,
        listen: Some("[::1]:9117".parse().unwrap()),
        members: MemberSeries::On,
        histograms: Histograms::Pools,
        max_series: 9,
    };
    assert_eq!(config.metrics, wanted);
    let config = read(&["LuaBalancerMetrics off", "LuaBalancerMetrics members=off"]);
    assert_eq!((config.metrics.counts, config.metrics.members), (true, MemberSeries::Off));
}

#[test]
fn an_origin_is_kept_as_browsers_write_it() {
    let admin = |line: &str| {
        let mut reader = Reader::default();
        reader.main(&[line]);
        let rule = reader.main.admin.unwrap();
        reader.config().admin(rule).unwrap().clone()
    };
    let found = admin("LuaBalancerAdmin on origin=HTTPS://Admin.Example.org:8443 anonymous=off");
    let origin = Some("https://admin.example.org:8443".to_owned());
    assert_eq!(found, Admin { on: true, anonymous: false, origin });
}

#[test]
fn decisions_take_all_their_keys() {
    let sampling = |line: &str| read(&[line]).sampling;
    let all = Sampling::default();
    assert_eq!((read(&[]).sampling, all.size, all.share), (all, 512, 100));
    assert_eq!(
        sampling("LuaBalancerDecisions OFF"),
        Sampling { size: 0, share: 0, errors: false, retries: false }
    );
    let line = "LuaBalancerDecisions size=9 sample=0.5% always=retries";
    assert_eq!(sampling(line), Sampling { size: 9, share: 50, errors: false, retries: true });
    assert_eq!(
        sampling("LuaBalancerDecisions sample=100% always=retries,errors"),
        Sampling { share: 10_000, ..all }
    );
    assert_eq!(
        sampling("LuaBalancerDecisions sample=0 always=none"),
        Sampling { share: 0, errors: false, retries: false, ..all }
    );
}
