// SPDX-License-Identifier: Apache-2.0
//! The verbs that speak to a server, with one that says what the test wants.

mod documents;
mod ends;
mod explaining;
mod fake;
mod hostile;

use std::os::unix::fs::PermissionsExt;

use insta::assert_snapshot;

use self::documents::{DECISIONS, DISCOVERY, EVENTS, SCRIPTS, STATUS, member, pools};
use self::fake::{Fake, Line};
use crate::{Folder, Said};

fn json(text: &str) -> Line {
    Line::Json(text.to_owned())
}

fn usual(members: &[String]) -> Vec<(&'static str, Line)> {
    let second = members.get(1).map(|member| ("GET /api/v1/pools/app/members/b", json(member)));
    let mut lines = vec![
        ("GET /api/v1/status", json(STATUS)),
        ("GET /api/v1/pools", json(&pools(members))),
        ("GET /api/v1/pools/app/members/a", json(&members[0])),
        ("PATCH /api/v1/pools/app/members/a", json(&member("a", &[("admin", "\"drain\"")]))),
        ("GET /api/v1/events", json(EVENTS)),
        ("GET /api/v1/decisions", json(DECISIONS)),
        ("GET /api/v1/scripts", json(SCRIPTS)),
        ("GET /api/v1/discovery", json(DISCOVERY)),
    ];
    lines.extend(second);
    lines
}

fn two() -> Vec<String> {
    vec![member("a", &[]), member("b", &[("admin", "\"drain\""), ("inflight", "0")])]
}

/// A server, and a call of the program with its socket.
struct Scene {
    folder: Folder,
    fake: Fake,
}

impl Scene {
    fn new() -> Self {
        Scene::with(usual(&two()))
    }

    fn with(lines: Vec<(&'static str, Line)>) -> Self {
        let folder = Folder::new();
        let fake = Fake::new(&folder.0, "lb", lines);
        Scene { folder, fake }
    }

    fn lbctl(&self, words: &[&str]) -> Said {
        let socket = self.fake.path.to_string_lossy().into_owned();
        self.folder.lbctl(&[words, &["--socket", &socket]].concat())
    }
}

#[test]
fn views_are_tables_for_people() {
    let scene = Scene::new();
    for (name, words) in [
        ("status", vec!["status"]),
        ("members", vec!["members", "app"]),
        ("members_plain", vec!["members", "APP", "--state", "draining", "-o", "plain"]),
        ("events", vec!["events"]),
        ("decisions", vec!["decisions", "--pool", "app"]),
        ("scripts", vec!["scripts"]),
        ("discovery", vec!["discovery"]),
        ("discovery_plain", vec!["discovery", "-o", "plain"]),
    ] {
        assert_snapshot!(name, scene.lbctl(&words).whole());
    }
}

/// Members that checks or scripts have taken out.
fn taken_out() -> Scene {
    let down = r#"[{"flag":"down","by":"checks","from":null,"until":null,"note":null}]"#;
    let failed =
        r#"{"type":"http","ok":false,"row":3,"rise":2,"fall":3,"detail":"connect: refused (10.0.0.5:80)"}"#;
    let drained = r#"[{"flag":"draining","by":null,"from":null,"until":null,"note":null}]"#;
    let is_down = [("state", "\"down\""), ("why", down), ("usable", "false")];
    let passed = failed.replace("false,\"row\":3", "true,\"row\":1");
    let members = [
        member("a", &[&is_down[..], &[("check", failed)]].concat()),
        member("b", &[&is_down[..], &[("check", &passed)]].concat()),
        member("c", &[("state", "\"draining\""), ("why", drained), ("usable", "false")]),
        member("d", &[("state", "\"draining\""), ("why", drained), ("usable", "false")]),
        member("e", &[]),
    ];
    let order = |seq: u32, member: &str, new: &str, by: &str| {
        format!(r#"{{"seq":{seq},"kind":"order","pool":"app","member":"{member}","new":{new},"by":"{by}"}}"#)
    };
    // The last order of d is another one.
    let events = [
        order(1, "c", "\"draining\"", "/etc/apache2/lua/balancer.lua"),
        order(2, "d", "\"draining\"", "old.lua"),
        order(3, "d", "null", "other.lua"),
    ];
    let events = format!(r#"{{"events":[{}],"next":4,"lost":0}}"#, events.join(","));
    let mut lines = usual(&members);
    lines.retain(|(start, _)| !start.ends_with("events"));
    lines.push(("GET /api/v1/events", json(&events)));
    Scene::with(lines)
}

#[test]
fn a_status_says_what_the_check_found_and_which_script_drained() {
    let scene = taken_out();
    assert_snapshot!("status_reasons", scene.lbctl(&["status"]).whole());
    let socket = scene.fake.path.to_string_lossy().into_owned();
    let words = ["members", "app", "--socket", &socket];
    let narrow = scene.folder.lbctl_in_columns(80, &words);
    assert!(narrow.out.lines().all(|line| line.chars().count() <= 80), "{}", narrow.whole());
    assert_snapshot!("status_reasons_narrow", narrow.whole());
    let plain = scene.lbctl(&["members", "app", "-o", "plain"]);
    assert!(plain.out.contains("\tdown\t") && plain.out.lines().count() == 6, "{}", plain.whole());
    // Documents are those of the server, and ask for no events.
    let before = scene.fake.asked().len();
    scene.lbctl(&["members", "app", "--json"]).done();
    let asked = scene.fake.asked().split_off(before);
    assert!(asked.iter().all(|line| !line.contains("events")), "{asked:?}");
}

#[test]
fn documents_are_those_of_the_server() {
    let scene = Scene::new();
    for (verb, of_server) in [("scripts", SCRIPTS), ("decisions", DECISIONS), ("discovery", DISCOVERY)] {
        let said = scene.lbctl(&[verb, "--json"]).done();
        let parsed = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(parsed(&said.out), parsed(of_server));
    }
    assert_snapshot!("status_json", scene.lbctl(&["status", "--json"]).whole());
    assert_snapshot!("events_json", scene.lbctl(&["events", "--json"]).whole());
}

#[test]
fn a_change_is_told_and_goes_with_what_was_seen() {
    let scene = Scene::new();
    let words = ["drain", "app/a", "--until", "10m", "--note", "deploy 42"];
    assert_snapshot!("drain_dry", scene.lbctl(&[&words[..], &["--dry-run"]].concat()).whole());
    let asked = scene.fake.asked();
    assert!(asked.iter().all(|line| line.starts_with("GET ")), "{asked:?}");
    assert_snapshot!("drain", scene.lbctl(&words).whole());
    let change =
        r#"PATCH /api/v1/pools/app/members/a "7.9" {"admin":"drain","note":"deploy 42","until":"10m"}"#;
    assert_eq!(scene.fake.asked().last().map(String::as_str), Some(change));
    assert_snapshot!("drain_json", scene.lbctl(&[&words[..], &["--json"]].concat()).whole());
}

#[test]
fn an_order_for_one_server_alone_says_so_in_its_query() {
    let mut lines = usual(&two());
    let done = format!(r#"{{"status":200,"body":{}}}"#, member("a", &[]));
    lines.push(("POST /api/v1/batch", json(&format!("[{done},{done}]"))));
    let scene = Scene::with(lines);
    for (words, line) in [
        (vec!["drain", "app/a"], "PATCH /api/v1/pools/app/members/a?local=1 "),
        (vec!["disable", "app/a"], "PATCH /api/v1/pools/app/members/a?local=1 "),
        (vec!["enable", "app/a"], "PATCH /api/v1/pools/app/members/a?local=1 "),
        (vec!["weight", "app/a", "3"], "PATCH /api/v1/pools/app/members/a?local=1 "),
        (vec!["enable", "app/*"], "POST /api/v1/batch?local=1 "),
    ] {
        scene.lbctl(&[&words[..], &["--local"]].concat()).done();
        let last = scene.fake.asked().pop().unwrap_or_default();
        assert!(last.starts_with(line), "{words:?}: {last}");
        scene.lbctl(&words).done();
        let last = scene.fake.asked().pop().unwrap_or_default();
        assert!(last.starts_with(&line.replace("?local=1", "")), "{words:?}: {last}");
    }
    for verb in ["reset", "remove"] {
        assert_eq!(scene.lbctl(&[verb, "app/a", "--local"]).code, 2, "{verb}");
    }
}

#[test]
fn a_store_that_is_away_is_told_with_the_option_that_helps() {
    let detail = "orders are shared, and their store is away: refused; ?local=1 orders here alone";
    let problem = format!(r#"{{"title":"Service Unavailable","status":503,"detail":"{detail}"}}"#);
    let mut lines = usual(&two());
    let away = |problem: &str| Line::Text(503, "application/problem+json", problem.to_owned());
    lines.retain(|(start, _)| !start.starts_with("PATCH"));
    lines.push(("PATCH /api/v1/pools/app/members/a", away(&problem)));
    lines.push((
        "POST /api/v1/batch",
        json(
            &format!(r#"[{{"status":503,"body":{problem}}}]"#)
                .replace("}]", "},{\"status\":424,\"body\":{}}]"),
        ),
    ));
    let scene = Scene::with(lines);
    for words in [["drain", "app/a"], ["drain", "app/*"]] {
        let said = scene.lbctl(&words);
        assert!(said.code == 3 && said.err.contains("away: refused; --local at drain"), "{}", said.whole());
        assert!(!said.err.contains("?local"), "{}", said.whole());
    }
}

#[test]
fn many_members_are_one_request_that_is_refused_as_a_whole() {
    let refused = r#"[{"status":424,"body":{"detail":"not done"}},{"status":409,"body":{"detail":"pool app: b is held"}}]"#;
    let mut lines = usual(&two());
    lines.push(("POST /api/v1/batch", json(refused)));
    let scene = Scene::with(lines);
    let said = scene.lbctl(&["weight", "--address", "192.168.1.10", "3"]);
    assert!(said.code == 3 && said.err.contains("nothing is done: pool app: b is held"), "{}", said.whole());
    let asked = scene.fake.asked();
    let changes: Vec<_> = asked.iter().filter(|line| !line.starts_with("GET ")).collect();
    assert_eq!(changes.len(), 1, "{asked:?}");
    assert!(changes[0].contains("members/a") && changes[0].contains("members/b"), "{asked:?}");
}

#[test]
fn servers_that_differ_are_told_apart() {
    let folder = Folder::new();
    let one = Fake::new(&folder.0, "lb", usual(&two()));
    let other = [member("a", &[("weight", "3")])];
    let other = Fake::new(&folder.0, "lb2", usual(&other));
    // JSON names the servers in the order of their addresses.
    let mut listeners = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.sort_by_key(|listener| listener.local_addr().unwrap().port());
    let [first, second] = listeners;
    let (first, second) = (relay(first, one.path.clone()), relay(second, other.path.clone()));
    let urls = [format!("http://127.0.0.1:{first}/lb"), format!("http://127.0.0.1:{second}/lb")];
    let words = ["--url", &urls[0], "--url", &urls[1]];
    let named = |said: Said| {
        said.whole()
            .replace(&format!("127.0.0.1:{first}"), "LB1")
            .replace(&format!("127.0.0.1:{second}"), "LB2")
    };
    assert_snapshot!("differ", named(folder.lbctl(&[&["status"], &words[..]].concat())));
    assert_snapshot!(
        "differ_json",
        named(folder.lbctl(&[&["members", "app", "--json"], &words[..]].concat()))
    );
    // One of them has no such member: none is changed.
    let said = folder.lbctl(&[&["drain", "app/b"], &words[..]].concat());
    assert!(said.code == 3 && said.err.contains("no member app/b; there is app/a"), "{}", said.whole());
    let asked = [one.asked(), other.asked()].concat();
    assert!(asked.iter().all(|line| line.starts_with("GET ")), "{asked:?}");
}

/// A port that leads to a socket, whose handler stands at /lb.
fn relay(listener: std::net::TcpListener, path: std::path::PathBuf) -> u16 {
    use std::io::{Read, Write};
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let path = path.clone();
            std::thread::spawn(move || {
                let mut head = vec![0; 65536];
                let size = stream.read(&mut head).unwrap();
                let text = String::from_utf8_lossy(&head[..size]).replacen(" /lb/", " /", 1);
                let mut server = std::os::unix::net::UnixStream::connect(path).unwrap();
                server.write_all(text.as_bytes()).unwrap();
                // A body may come by itself.
                let (mut rest, mut on) = (stream.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut rest, &mut on));
                std::io::copy(&mut server, &mut stream).unwrap();
            });
        }
    });
    port
}

#[test]
fn waiting_ends_when_it_is_so_or_time_is_up() {
    let scene = Scene::new();
    let wait =
        |of: &str, condition: &str| scene.lbctl(&["wait", of, "--for", condition, "--timeout", "300ms"]);
    assert!(wait("app/b", "inflight=0,state=draining").done().out.starts_with("app/b has inflight=0"));
    assert!(wait("app", "usable>=1").done().err.is_empty());
    let late = wait("app/*", "inflight=0");
    assert!(late.code == 5 && late.err.contains("app/a has inflight 2"), "{}", late.whole());
    assert_eq!(wait("app", "usable>=2").code, 5);
    assert_eq!(wait("app/a", "queued=0").code, 2);
    assert_eq!(wait("app/a", "inflight").code, 2);
    assert_eq!(wait("nobody", "usable>=1").code, 3);
}

#[test]
fn a_server_without_such_a_view_is_told_in_words() {
    let lines = usual(&two()).into_iter().filter(|(start, _)| !start.ends_with("/discovery"));
    let scene = Scene::with(lines.collect());
    for words in
        [&["discovery"][..], &["state", "show"], &["state", "prune"], &["discovery", "--refresh", "app/f"]]
    {
        let said = scene.lbctl(words);
        assert!(said.code == 3 && said.err.contains("older than this lbctl"), "{}", said.whole());
    }
}

#[test]
fn nobody_there_is_four_with_a_word_on_what_to_try() {
    let scene = Scene::new();
    let gone = scene.folder.lbctl(&["status", "--socket", "nothing.sock"]);
    assert!(gone.code == 4 && gone.err.contains("no such socket"), "{}", gone.whole());
    drop(std::os::unix::net::UnixListener::bind(scene.folder.0.join("left")).unwrap());
    let left = scene.folder.lbctl(&["status", "--socket", "left"]);
    assert!(left.code == 4 && left.err.contains("nobody answers"), "{}", left.whole());
    scene.folder.write("file", "");
    let file = scene.folder.lbctl(&["status", "--socket", "file"]);
    assert!(file.code == 4 && file.err.contains("this is not a socket"), "{}", file.whole());
    let url = scene.folder.lbctl(&["status", "--url", "http://127.0.0.1:1/lb"]);
    assert_eq!(url.code, 4, "{}", url.whole());
    for wrong in ["lb1", "ftp://lb1/", "http://", "http://lb1/x?y", "http://:80/"] {
        assert_eq!(scene.folder.lbctl(&["status", "--url", wrong]).code, 2, "{wrong}");
    }
    let no_password = scene.folder.lbctl(&["status", "--url", "http://127.0.0.1:1/", "--user", "ada"]);
    assert!(no_password.code == 2 && no_password.err.contains("LBCTL_PASSWORD"), "{}", no_password.whole());
}

#[test]
fn a_socket_of_others_is_four_with_its_mode_and_group() {
    let scene = Scene::new();
    std::fs::set_permissions(&scene.fake.path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::set_permissions(&scene.folder.0, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", env!("CARGO_BIN_EXE_lbctl"), "status"]);
    let output = command.arg("--socket").arg(&scene.fake.path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("setpriv") {
        // Only root may become somebody else.
        return;
    }
    assert!(output.status.code() == Some(4) && said.contains("mode= and group="), "{said}");
}

#[test]
fn tables_fit_eighty_columns_and_colours_stay_away_from_files() {
    let scene = Scene::new();
    let socket = scene.fake.path.to_string_lossy().into_owned();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lbctl"));
    let output = command.args(["status", "--socket", &socket]).env("COLUMNS", "80").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains('\x1b'), "{text:?}");
    let rows = text.lines().skip_while(|line| !line.starts_with("pool "));
    for line in rows.skip(1) {
        assert!(line.chars().count() <= 80, "{line}");
    }
}
