// SPDX-License-Identifier: Apache-2.0
//! The state file: what holds again after a stop and a start.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::Duration;

use server_tests::{Backend, Builder, Httpd, Request, Response, pool, wait_until};

const SOON: Duration = Duration::from_secs(20);
const MEMBER: &str = "/api/v1/pools/app/members/a";

/// Two members, and a state file in a folder of its own.
fn kept(a: &Backend, b: &Backend) -> Builder {
    Httpd::builder()
        .config("LuaBalancerStateFile kept/state.json")
        .config(&pool("app", &[(a, "weight=5 meta.version=1"), (b, "")], "LuaBalancerOutlier off"))
        .config("ProxyPass /app lb://app")
}

fn file(httpd: &Httpd) -> PathBuf {
    httpd.dir().join("kept/state.json")
}

fn send(httpd: &Httpd, method: &str, target: &str, body: &str) -> Response {
    let request = Request::post(target, body).header("Content-Type", "application/json").with_method(method);
    httpd.socket().send(&request)
}

fn patch(httpd: &Httpd, body: &str) {
    let response = send(httpd, "PATCH", MEMBER, body);
    assert_eq!(response.status, 200, "{}", response.text());
}

fn read(httpd: &Httpd) -> String {
    httpd.socket().get(MEMBER).text()
}

#[track_caller]
fn says(document: &str, parts: &[&str]) {
    for part in parts {
        assert!(document.contains(part), "{part} in {document}");
    }
}

fn wait_for_file(httpd: &Httpd, part: &str) {
    let path = file(httpd);
    wait_until(&format!("{part} in the state file"), SOON, || {
        fs::read_to_string(&path).is_ok_and(|text| text.contains(part))
    });
}

fn stop_and_start(httpd: &mut Httpd) {
    let (_, status) = httpd.stop();
    assert!(status.success(), "{status}");
    httpd.start_again();
}

#[test]
fn all_that_was_ordered_holds_after_a_stop_and_a_start() {
    let [a, b] = ["a", "b"].map(Backend::new);
    let mut httpd = kept(&a, &b).start();
    patch(
        &httpd,
        r#"{"admin":"drain","until":"2099-01-01T00:00:00Z","then":"disabled","note":"deploy 42","weight":2.5,
            "max_inflight":7,"meta":{"version":"3"}}"#,
    );
    let added = send(
        &httpd,
        "POST",
        "/api/v1/pools/app/members",
        r#"{"url":"http://127.0.0.1:9","name":"x","weight":4}"#,
    );
    assert_eq!(added.status, 201, "{}", added.text());
    stop_and_start(&mut httpd);
    let parts = [
        r#""state":"draining""#,
        r#""admin":"drain","until":"2099-01-01T00:00:00Z","then":"disabled","note":"deploy 42""#,
        r#""weight":2.5"#,
        r#""max_inflight":7"#,
        r#""meta":{"version":"3"}"#,
        r#""configured":5"#,
    ];
    says(&read(&httpd), &parts);
    says(&httpd.socket().get("/api/v1/pools/app/members/x").text(), &[r#""weight":4"#, "http://127.0.0.1:9"]);
    httpd.wait_for_log("notice.*the state file of .*: orders of 1 members hold again, 1 members are back");
    // Once more, since what was restored is to be kept as well.
    stop_and_start(&mut httpd);
    says(&read(&httpd), &parts);
    let mode = fs::metadata(file(&httpd)).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    httpd.assert_no_crash();
}

#[test]
fn a_value_that_the_configuration_says_otherwise_by_now_is_dropped_with_a_notice() {
    let [a, b] = ["a", "b"].map(Backend::new);
    let mut httpd = kept(&a, &b).start();
    patch(&httpd, r#"{"admin":"drain","weight":2,"max_inflight":7}"#);
    httpd.stop();
    httpd.edit_config("weight=5", "weight=9");
    httpd.start_again();
    says(&read(&httpd), &[r#""state":"draining""#, r#""weight":9"#, r#""max_inflight":7"#]);
    httpd.wait_for_log("notice.*pool app: member a: dropped weight .*2 was in place of 5");
    httpd.stop();
    httpd.edit_config("weight=9", "weight=9 status=+D");
    httpd.start_again();
    says(&read(&httpd), &[r#""state":"disabled""#]);
    httpd.wait_for_log("notice.*member a: dropped admin");
}

#[test]
fn an_order_whose_time_has_passed_meanwhile_is_over() {
    let [a, b] = ["a", "b"].map(Backend::new);
    let mut httpd = kept(&a, &b).start();
    patch(&httpd, r#"{"admin":"drain","until":2,"then":"disabled"}"#);
    httpd.stop();
    let asked = std::time::Instant::now();
    wait_until("the order's end", SOON, || asked.elapsed() > Duration::from_secs(3));
    httpd.start_again();
    says(&read(&httpd), &[r#""state":"disabled""#, r#""until":null"#]);
}

#[test]
fn a_file_is_written_within_two_seconds_and_survives_the_death_of_all_processes() {
    let [a, b] = ["a", "b"].map(Backend::new);
    let mut httpd = kept(&a, &b).start();
    patch(&httpd, r#"{"admin":"drain","note":"before the end"}"#);
    let took = wait_until("the file", SOON, || {
        fs::read_to_string(file(&httpd)).is_ok_and(|text| text.contains("before the end"))
    });
    assert!(took < server_tests::patience(Duration::from_secs(4)), "{took:?}");
    httpd.kill();
    httpd.start_again();
    says(&read(&httpd), &[r#""state":"draining""#, "before the end"]);
}

#[test]
fn a_kill_at_any_moment_of_writing_leaves_the_old_or_the_new_file() {
    let [a, b] = ["a", "b"].map(Backend::new);
    let mut httpd = kept(&a, &b).children(2).start();
    patch(&httpd, r#"{"note":"n0","admin":"drain"}"#);
    wait_for_file(&httpd, "n0");
    for round in 1..=40_u64 {
        let response = send(&httpd, "PATCH", MEMBER, &format!(r#"{{"note":"n{round}","admin":"drain"}}"#));
        assert_eq!(response.status, 200, "{}", response.text());
        let moment = std::time::Instant::now();
        let wait = Duration::from_millis(round * 37 % 900);
        wait_until("a moment", SOON, || moment.elapsed() >= wait);
        httpd.kill();
        httpd.start_again();
        assert_eq!(httpd.count_log("lua_balancer:error"), 0, "{}", httpd.error_log());
        let now = read(&httpd);
        let is_old_or_new = (0..=round).any(|n| now.contains(&format!("\"n{n}\"")));
        assert!(is_old_or_new && now.contains("draining"), "{now}");
    }
    let left = fs::read_dir(httpd.dir().join("kept")).expect("the folder").count();
    assert!(left <= 3, "what killed writers left is swept: {left}");
}

#[test]
fn what_is_no_state_file_is_moved_aside_and_the_server_starts() {
    let [a, b] = ["a", "b"].map(Backend::new);
    let mut httpd = kept(&a, &b).start();
    patch(&httpd, r#"{"admin":"drain"}"#);
    httpd.stop();
    let path = file(&httpd);
    let good = fs::read_to_string(&path).expect("the file");
    let outside = httpd.dir().join("outside.json");
    fs::write(&outside, &good).expect("another file");
    let cases: [(&str, &dyn Fn()); 6] = [
        ("it is empty", &(|| fs::write(&path, "").expect("write"))),
        ("checksum", &(|| fs::write(&path, good.replace("drain", "ready")).expect("write"))),
        ("not whole", &(|| fs::write(&path, &good[..good.len() / 2]).expect("write"))),
        (
            "more than 64 MiB",
            &(|| {
                fs::write(&path, "").expect("write");
                fs::OpenOptions::new()
                    .write(true)
                    .open(&path)
                    .and_then(|f| f.set_len((64 << 20) + 1))
                    .expect("grow");
            }),
        ),
        ("a link", &(|| symlink(&outside, &path).expect("link"))),
        ("a folder", &(|| fs::create_dir(&path).expect("folder"))),
    ];
    for (what, make) in &cases {
        let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
        make();
        httpd.start_again();
        httpd.wait_for_log("error.*the state file .* is of no use");
        assert_eq!(httpd.count_log("lua_balancer:error"), 1, "{what}: {}", httpd.error_log());
        says(&httpd.error_log(), &[what]);
        says(&read(&httpd), &[r#""state":"up""#]);
        httpd.stop();
    }
    assert_eq!(
        fs::read_to_string(&outside).expect("the other file"),
        good,
        "what a link led to is as it was"
    );
}

#[test]
fn a_second_server_goes_on_without_the_file() {
    let [a, b] = ["a", "b"].map(Backend::new);
    let first = kept(&a, &b).start();
    patch(&first, r#"{"admin":"drain"}"#);
    wait_for_file(&first, "drain");
    let path = file(&first).display().to_string();
    let second = Httpd::builder()
        .config(&format!("LuaBalancerStateFile {path}"))
        .config(&pool("app", &[(&a, "weight=5 meta.version=1"), (&b, "")], ""))
        .start();
    second.wait_for_log("warn.*no state file at .*: another server has it");
    says(&read(&second), &[r#""state":"up""#]);
    assert!(fs::read_to_string(&path).expect("the file").contains("drain"));
    first.assert_no_crash();
}

#[test]
fn a_disk_that_takes_nothing_is_one_warning_and_one_in_the_status() {
    let [a, b] = ["a", "b"].map(Backend::new);
    let httpd = kept(&a, &b).start();
    patch(&httpd, r#"{"admin":"drain"}"#);
    wait_for_file(&httpd, "drain");
    let folder = httpd.dir().join("kept");
    let moved = httpd.dir().join("elsewhere");
    fs::rename(&folder, &moved).expect("move the folder away");
    patch(&httpd, r#"{"admin":"ready"}"#);
    httpd.wait_for_log("warn.*the state file .* cannot be written");
    says(&httpd.socket().get("/api/v1/status").text(), &[r#""code":"state_file""#]);
    fs::rename(&moved, &folder).expect("bring it back");
    httpd.wait_for_log("notice.*the state file .* is written again");
    assert_eq!(httpd.count_log("cannot be written"), 1, "{}", httpd.error_log());
    wait_until("no warning", SOON, || !httpd.socket().get("/api/v1/status").text().contains("state_file"));
}

#[test]
fn the_api_shows_the_file_with_what_a_start_would_take_and_prunes_the_rest() {
    let [a, b] = ["a", "b"].map(Backend::new);
    let mut httpd = kept(&a, &b).start();
    patch(&httpd, r#"{"admin":"drain"}"#);
    httpd.stop();
    httpd.edit_config("name=a", "name=other");
    httpd.start_again();
    let state = || httpd.socket().get("/api/v1/state").text();
    wait_until("what is left", SOON, || state().contains("no configuration has this member now"));
    says(&state(), &[r#""apply":[]"#, r#""member":"a""#]);
    let pruned = send(&httpd, "POST", "/api/v1/state/prune", "");
    assert_eq!(pruned.status, 200, "{}", pruned.text());
    says(&pruned.text(), &[r#""drop":[]"#]);
    assert!(!fs::read_to_string(file(&httpd)).expect("the file").contains("drain"));
}

#[test]
fn a_member_under_another_url_keeps_its_orders() {
    let [a, b, c] = ["a", "b", "c"].map(Backend::new);
    let mut httpd = kept(&a, &b).start();
    patch(&httpd, r#"{"admin":"drain"}"#);
    httpd.stop();
    httpd.edit_config(&format!("127.0.0.1:{}", a.port()), &format!("127.0.0.1:{}", c.port()));
    httpd.start_again();
    says(&read(&httpd), &[r#""state":"draining""#, &format!("127.0.0.1:{}", c.port())]);
    httpd.wait_for_log("notice.*member a: dropped health");
}

#[test]
fn by_default_there_is_a_file_where_a_package_has_made_the_folder() {
    let [a, b] = ["a", "b"].map(Backend::new);
    let builder = Httpd::builder().config(&pool("app", &[(&a, ""), (&b, "")], ""));
    let base = builder.dir().join(server_tests::httpd::STATES);
    fs::create_dir(&base).expect("the package's folder");
    let mut httpd = builder.start();
    patch(&httpd, r#"{"admin":"drain"}"#);
    stop_and_start(&mut httpd);
    says(&read(&httpd), &[r#""state":"draining""#]);
    let instances: Vec<PathBuf> =
        fs::read_dir(&base).expect("it").map(|entry| entry.expect("one").path()).collect();
    let [instance] = instances.as_slice() else { panic!("{instances:?}") };
    assert_eq!(fs::metadata(instance).expect("its folder").permissions().mode() & 0o777, 0o700);
    assert!(instance.join("state.json").exists());
    assert!(httpd.configtest().says("Syntax OK"));
}
