// SPDX-License-Identifier: Apache-2.0
//! The state file: what holds again after a stop and a start.

mod costs;
mod disks;
mod hostile;
mod keys;
mod kills;
mod restarts;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use nix::unistd::Uid;
use server_tests::{Backend, Builder, Httpd, Mpm, assert_says, on_every_mpm, pool, wait_until};

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

fn patch(httpd: &Httpd, body: &str) {
    httpd.patch(MEMBER, body);
}

fn read(httpd: &Httpd) -> String {
    httpd.socket().get(MEMBER).text()
}

fn wait_for_file(httpd: &Httpd, part: &str) {
    let path = file(httpd);
    wait_until(&format!("{part} in the state file"), SOON, || {
        fs::read_to_string(&path).is_ok_and(|text| text.contains(part))
    });
}

/// Whether this test cannot be made, for which it has a reason.
fn is_not_root(what: &str) -> bool {
    let is_not = !Uid::effective().is_root();
    if is_not {
        eprintln!("SKIPPED: {what} (the tests do not run as root)");
    }
    is_not
}

/// `stop` and `start`, as `systemctl restart` has it.
fn stop_and_start(httpd: &mut Httpd) {
    let (_, status) = httpd.stop();
    assert!(status.success(), "{status}");
    httpd.start_again();
}

on_every_mpm!(all_that_was_ordered_holds_after_a_stop_and_a_start);
fn all_that_was_ordered_holds_after_a_stop_and_a_start(mpm: Mpm) {
    let [a, b] = ["a", "b"].map(Backend::new);
    holds_again(kept(&a, &b).mpm(mpm));
}

#[test]
fn a_server_without_root_keeps_its_state() {
    if is_not_root("httpd as another account than the tests") {
        return;
    }
    let [a, b] = ["a", "b"].map(Backend::new);
    holds_again(kept(&a, &b).without_root());
}

fn holds_again(builder: Builder) {
    let mut httpd = builder.start();
    patch(
        &httpd,
        r#"{"admin":"drain","until":"2099-01-01T00:00:00Z","then":"disabled","note":"deploy 42","weight":2.5,
            "max_inflight":7,"meta":{"version":"3"}}"#,
    );
    let added = httpd.order(
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
    assert_says(&read(&httpd), &parts);
    assert_says(
        &httpd.socket().get("/api/v1/pools/app/members/x").text(),
        &[r#""weight":4"#, "http://127.0.0.1:9"],
    );
    httpd.wait_for_log("notice.*the state file of .*: orders of 1 members hold again, 1 members are back");
    // Once more, since what was restored is to be kept as well.
    stop_and_start(&mut httpd);
    assert_says(&read(&httpd), &parts);
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
    assert_says(&read(&httpd), &[r#""state":"draining""#, r#""weight":9"#, r#""max_inflight":7"#]);
    httpd.wait_for_log("notice.*pool app: member a: dropped weight .*2 was in place of 5");
    httpd.stop();
    httpd.edit_config("weight=9", "weight=9 status=+D");
    httpd.start_again();
    assert_says(&read(&httpd), &[r#""state":"disabled""#]);
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
    assert_says(&read(&httpd), &[r#""state":"disabled""#, r#""until":null"#]);
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
    assert_says(&read(&httpd), &[r#""state":"draining""#, "before the end"]);
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
    assert_says(&read(&second), &[r#""state":"up""#]);
    assert!(fs::read_to_string(&path).expect("the file").contains("drain"));
    first.assert_no_crash();
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
    assert_says(&state(), &[r#""apply":[]"#, r#""member":"a""#]);
    let pruned = httpd.order("POST", "/api/v1/state/prune", "");
    assert_eq!(pruned.status, 200, "{}", pruned.text());
    assert_says(&pruned.text(), &[r#""drop":[]"#]);
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
    assert_says(&read(&httpd), &[r#""state":"draining""#, &format!("127.0.0.1:{}", c.port())]);
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
    assert_says(&read(&httpd), &[r#""state":"draining""#]);
    let instances: Vec<PathBuf> =
        fs::read_dir(&base).expect("it").map(|entry| entry.expect("one").path()).collect();
    let [instance] = instances.as_slice() else { panic!("{instances:?}") };
    assert_eq!(fs::metadata(instance).expect("its folder").permissions().mode() & 0o777, 0o700);
    assert!(instance.join("state.json").exists());
    assert!(httpd.configtest().says("Syntax OK"));
}

#[test]
fn a_file_that_is_removed_or_replaced_is_written_again() {
    let [a, b] = ["a", "b"].map(Backend::new);
    let httpd = kept(&a, &b).start();
    patch(&httpd, r#"{"admin":"drain","note":"stays"}"#);
    wait_for_file(&httpd, "stays");
    fs::remove_file(file(&httpd)).expect("remove the file");
    wait_for_file(&httpd, "stays");
    fs::write(file(&httpd), "something else").expect("overwrite the file");
    wait_for_file(&httpd, "stays");
    assert_eq!(httpd.count_log("state file"), 0, "{}", httpd.error_log());
}

#[test]
fn a_file_that_says_the_same_for_long_does_not_get_too_old() {
    let [a, b] = ["a", "b"].map(Backend::new);
    let mut httpd = kept(&a, &b).start();
    httpd.edit_config("kept/state.json", "kept/state.json max_age=4s");
    httpd.graceful();
    patch(&httpd, r#"{"admin":"drain"}"#);
    wait_for_file(&httpd, "drain");
    let written = || {
        let text = fs::read_to_string(file(&httpd)).expect("the file");
        text.lines().find(|line| line.contains("\"written\"")).expect("when it was written").to_owned()
    };
    let first = written();
    wait_until("the file to be renewed", SOON, || written() != first);
    let second = written();
    wait_until("the file to be renewed again", SOON, || written() != second);
}
