// SPDX-License-Identifier: Apache-2.0
//! Files that somebody else may have put in the place of the state file.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use nix::sys::stat::Mode;
use nix::unistd::{User, mkfifo};
use server_tests::httpd::{STATES, account};
use server_tests::{Backend, Builder, Httpd, assert_says, pool, wait_until};

use super::{SOON, file, is_not_root, kept, patch, read, wait_for_file};

/// A text with the checksum that its body has.
fn forged(text: &str, from: &str, to: &str) -> String {
    let (body, _) = text.split_once(",\n  \"checksum\"").expect("a checksum");
    assert!(body.contains(from), "{from} in {body}");
    let body = body.replacen(from, to, 1);
    format!("{body},\n  \"checksum\": \"crc32:{:08x}\"\n}}\n", crc32(body.as_bytes()))
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| {
        (0..8).fold(
            sum ^ u32::from(*byte),
            |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 },
        )
    };
    !bytes.iter().fold(!0, step)
}

/// Puts something in the place of the file that is at a path.
type Putting<'p> = &'p dyn Fn(&Path);

fn put(text: impl Into<Vec<u8>>) -> impl Fn(&Path) {
    let text = text.into();
    move |path| fs::write(path, &text).expect("write")
}

#[test]
fn a_file_that_is_not_a_state_file_is_moved_aside_and_the_server_starts() {
    let [a, b] = ["a", "b"].map(Backend::new);
    let mut httpd = kept(&a, &b).start();
    patch(&httpd, r#"{"admin":"drain"}"#);
    httpd.stop();
    let path = file(&httpd);
    let good = fs::read_to_string(&path).expect("the file");
    let outside = httpd.dir().join("outside.json");
    fs::write(&outside, &good).expect("another file");
    let deep = format!("\"by\": {}{}", "[".repeat(200_000), "]".repeat(200_000));
    let twice = "\"pools\": [], \"pools\": [";
    let member = "\"members\": [{\"name\":\"a\",\"url\":\"http://127.0.0.1\"},";
    let is_link = |path: &Path| symlink(&outside, path).expect("a link");
    let is_nowhere = |path: &Path| symlink("/nowhere", path).expect("a link");
    let is_folder = |path: &Path| fs::create_dir(path).expect("a folder");
    let is_pipe = |path: &Path| mkfifo(path, Mode::S_IRWXU).expect("a pipe");
    let is_socket = |path: &Path| drop(UnixListener::bind(path).expect("a socket"));
    let is_long = |path: &Path| {
        let long = fs::File::create(path).expect("a file");
        long.set_len((64 << 20) + 1).expect("grow");
    };
    let cases: [(&str, Putting<'_>); 16] = [
        ("it is empty", &put("")),
        ("its checksum is", &put(good.replace("drain", "ready"))),
        ("not whole", &put(&good[..good.len() / 2])),
        ("it cannot be read: invalid utf-8", &put([0xff, 0xfe, 0])),
        ("more than 64 MiB", &is_long),
        ("it is a link", &is_link),
        ("it is a link", &is_nowhere),
        ("it is a folder", &is_folder),
        ("it is a pipe", &is_pipe),
        ("it is a socket", &is_socket),
        ("it is of format 2", &put(forged(&good, "\"format\": 1", "\"format\": 2"))),
        ("duplicate field `pools`", &put(forged(&good, "\"pools\": [", twice))),
        ("it cannot be read: ", &put(forged(&good, "\"by\": \"mod", &format!("{deep}, \"and\": \"mod")))),
        ("member a is there twice", &put(forged(&good, "\"members\": [", member))),
        (
            "note has control characters",
            &put(forged(&good, "\"order\": {", "\"order\": {\"note\":\"a\\u001b\",")),
        ),
        ("is not a name for a pool", &put(forged(&good, "\"name\": \"app\"", "\"name\": \"../app\""))),
    ];
    for (what, make) in &cases {
        let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
        make(&path);
        httpd.start_again();
        httpd.wait_for_log("error.*the state file .* is of no use");
        assert_eq!(httpd.count_log("lua_balancer:error"), 1, "{what}: {}", httpd.error_log());
        assert_says(&httpd.error_log(), &[what]);
        assert_says(&read(&httpd), &[r#""state":"up""#]);
        httpd.stop();
    }
    assert_eq!(
        fs::read_to_string(&outside).expect("the other file"),
        good,
        "what a link led to is as it was"
    );
}

#[test]
fn a_lock_that_is_no_file_is_a_server_without_a_state_file() {
    let [a, b] = ["a", "b"].map(Backend::new);
    let mut httpd = kept(&a, &b).start();
    httpd.stop();
    let lock = file(&httpd).with_file_name("state.json.lock");
    let is_pipe = |path: &Path| mkfifo(path, Mode::S_IRWXU).expect("a pipe");
    let is_folder = |path: &Path| fs::create_dir(path).expect("a folder");
    let is_link = |path: &Path| symlink("/etc/passwd", path).expect("a link");
    let cases: [(&str, Putting<'_>); 3] = [
        ("is not a regular file", &is_pipe),
        ("is not a regular file", &is_folder),
        ("Too many levels of symbolic links", &is_link),
    ];
    for (what, make) in cases {
        let _ = fs::remove_file(&lock).or_else(|_| fs::remove_dir(&lock));
        make(&lock);
        httpd.start_again();
        httpd.wait_for_log(&format!("lua_balancer:warn.*no state file at .*: its lock: .*{what}"));
        httpd.stop();
    }
}

/// A server whose folder for all states is there, and that folder.
fn with_states() -> (Builder, PathBuf, [Backend; 2]) {
    let backends = ["a", "b"].map(Backend::new);
    let builder = Httpd::builder().config(&pool("app", &[(&backends[0], ""), (&backends[1], "")], ""));
    let base = builder.dir().join(STATES);
    fs::create_dir(&base).expect("the package's folder");
    (builder, base, backends)
}

fn instance(base: &Path) -> PathBuf {
    let mut all =
        fs::read_dir(base).expect("the folder of all states").map(|entry| entry.expect("one").path());
    all.next().expect("this server's folder")
}

fn number_of(account: &str) -> u32 {
    User::from_name(account).expect("the accounts").expect("the account").uid.as_raw()
}

#[test]
fn a_server_keeps_its_state_when_it_gets_another_user() {
    if is_not_root("another User") {
        return;
    }
    let (builder, base, _backends) = with_states();
    let mut httpd = builder.start();
    patch(&httpd, r#"{"admin":"drain","note":"first"}"#);
    httpd.stop();
    let user = account().0;
    let folder = instance(&base);
    assert_eq!(fs::metadata(&folder).expect("it").uid(), number_of(user));
    httpd.edit_config(&format!("User {user}"), "User nobody");
    httpd.start_again();
    assert_says(&read(&httpd), &["draining", "first"]);
    patch(&httpd, r#"{"admin":"drain","note":"second"}"#);
    let path = folder.join("state.json");
    wait_until("a file of the other user", SOON, || {
        fs::read_to_string(&path).is_ok_and(|text| text.contains("second"))
    });
    for path in [folder.clone(), folder.join("state.json"), folder.join("state.json.lock")] {
        assert_eq!(fs::metadata(&path).expect("it").uid(), number_of("nobody"), "{}", path.display());
    }
    assert_eq!(httpd.count_log("lua_balancer:(error|warn)"), 0, "{}", httpd.error_log());
}

#[test]
fn a_file_of_a_third_user_is_not_read() {
    if is_not_root("files of other users") {
        return;
    }
    let [a, b] = ["a", "b"].map(Backend::new);
    let mut httpd = kept(&a, &b).start();
    patch(&httpd, r#"{"admin":"drain"}"#);
    httpd.stop();
    chown(file(&httpd), Some(number_of("nobody")), None).expect("give it away");
    httpd.start_again();
    httpd.wait_for_log("error.*the state file .* is of no use: it belongs to somebody else, user [0-9]+");
    assert_says(&read(&httpd), &[r#""state":"up""#]);
    httpd.stop();
    // A name for a file of root's: what is in it could be anything.
    let secret = httpd.dir().join("secret");
    fs::write(&secret, "of root's alone").expect("a file");
    fs::remove_file(file(&httpd)).expect("remove the file");
    fs::hard_link(&secret, file(&httpd)).expect("another name");
    httpd.start_again();
    httpd.wait_for_log("error.*is of no use: it is a file of root's that has another name as well");
    assert_eq!(fs::read_to_string(&secret).expect("it"), "of root's alone");
    assert_eq!(fs::metadata(&secret).expect("it").uid(), 0);
}

#[test]
fn a_folder_of_all_states_that_others_can_write_to_is_not_used() {
    let (builder, base, _backends) = with_states();
    fs::set_permissions(&base, fs::Permissions::from_mode(0o777)).expect("open it");
    let httpd = builder.start();
    httpd.wait_for_log("notice.*no state file at .*is not a folder that root alone can write to");
    assert_eq!(fs::read_dir(&base).expect("it").count(), 0);
}

/// A program of the account of children that puts all kinds of things where a file is, as quickly
/// as it can.
struct Attack(Child);

const ATTACK: &str = r#"cd "$1" || exit 1
while :; do
    rm -rf state.json state.json.broken*; ln -s "$2" state.json; mv state.json.lock other; mv other state.json.lock
    rm -f state.json; mkfifo state.json; rm -f state.json; mkdir state.json; rmdir state.json
    cp good state.json; ln -f good state.json; mv state.json state.json.broken; mkdir state.json.broken
    head -c 5000000 /dev/zero > state.json; ln -sf "$2" state.json.1-1.new
done 2>/dev/null"#;

impl Attack {
    fn on(folder: &Path, secret: &Path) -> Self {
        let (user, group) = account();
        let (user, group) = (format!("--reuid={user}"), format!("--regid={group}"));
        let mut command = Command::new("setpriv");
        command.args([&user, &group, "--clear-groups", "sh", "-c", ATTACK, "sh"]).arg(folder).arg(secret);
        Attack(command.spawn().expect("start the attack"))
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_server_starts_and_root_loses_nothing_whatever_its_account_puts_there_meanwhile() {
    if is_not_root("an attack by the account of children") {
        return;
    }
    let [a, b] = ["a", "b"].map(Backend::new);
    let mut httpd = kept(&a, &b).start();
    patch(&httpd, r#"{"admin":"drain"}"#);
    wait_for_file(&httpd, "drain");
    httpd.stop();
    let folder = file(&httpd).parent().expect("its folder").to_owned();
    fs::copy(file(&httpd), folder.join("good")).expect("a good file");
    chown(folder.join("good"), Some(number_of(account().0)), None).expect("give it away");
    let secret = httpd.dir().join("secret");
    fs::write(&secret, "of root's alone").expect("a file");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("close it");
    let attack = Attack::on(&folder, &secret);
    for _ in 0..10 {
        httpd.start_again();
        let now = read(&httpd);
        assert!(
            ["up", "draining"].iter().any(|state| now.contains(&format!(r#""state":"{state}""#))),
            "{now}"
        );
        patch(&httpd, r#"{"admin":"drain","note":"again"}"#);
        let (took, status) = httpd.stop();
        assert!(status.success() && took < server_tests::patience(SOON), "{status} after {took:?}");
        httpd.assert_no_crash();
    }
    drop(attack);
    assert_eq!(fs::read_to_string(&secret).expect("it"), "of root's alone");
    let of_root = fs::metadata(&secret).expect("it");
    assert_eq!((of_root.uid(), of_root.permissions().mode() & 0o777), (0, 0o600));
}
