// SPDX-License-Identifier: Apache-2.0
//! What `lbctl simulate` shows of its way through a long log, in a terminal and elsewhere.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::pty::{OpenptyResult, Winsize, openpty};

use crate::{Folder, lbctl};

const SOON: Duration = Duration::from_secs(20);

const POOLS: &str =
    "<LuaBalancerPool app>\n  LuaBalancerMember http://192.0.2.1:8080 name=a\n</LuaBalancerPool>\n";
/// Slow enough for a few looks at the progress.
const SLOW: &str =
    "local app = lb.pool('app')\nfunction select(r)\n  for i = 1, 2000 do end\n  return app\nend\n";

fn lines(count: usize) -> String {
    let line = |n: usize| {
        let (minute, second) = (n / 100 / 60, n / 100 % 60);
        format!("192.0.2.1 - - [30/Nov/2026:14:{minute:02}:{second:02} +0000] \"GET /{n} HTTP/1.1\" 200 5\n")
    };
    (0..count).map(line).collect()
}

fn folder(count: usize) -> Folder {
    Folder::with(&[("pools.conf", POOLS), ("slow.lua", SLOW), ("access.log", &lines(count))])
}

const SLOWLY: [&str; 5] = ["simulate", "--config", "pools.conf", "--script", "slow.lua"];

/// The program in a terminal of 24 rows and 80 columns.
struct Terminal {
    process: Child,
    written: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

/// All that reached the terminal, and what was left on it.
struct Seen {
    all: String,
    left: String,
}

impl Terminal {
    fn new(folder: &Path, words: &[&str], change: impl FnOnce(&mut Command)) -> Self {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(Some(&size), None).unwrap();
        let end = |fd: &OwnedFd| Stdio::from(fd.try_clone().unwrap());
        let mut command = Command::new(env!("CARGO_BIN_EXE_lbctl"));
        command.args(words).current_dir(folder).env_remove("COLUMNS").env("TERM", "xterm-256color");
        command.stdin(Stdio::null()).stdout(end(&slave)).stderr(end(&slave));
        change(&mut command);
        let process = command.spawn().unwrap();
        let mut master = File::from(master);
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let all = written.clone();
        let reader = thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(size @ 1..) = master.read(&mut bytes) {
                all.lock().unwrap().extend_from_slice(&bytes[..size]);
            }
        });
        Terminal { process, written, reader: Some(reader) }
    }

    /// All that has reached it so far.
    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().unwrap()).into_owned()
    }

    /// Waits for the end of the program.
    fn seen(mut self) -> Seen {
        let ended = self.process.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        let all = self.so_far();
        let size = |number: u16| NonZero::new(number).unwrap();
        let mut screen = vt100::Parser::new(size(24), size(80), 0);
        screen.process(all.as_bytes());
        let left = screen.screen().contents();
        assert!(ended.success(), "{ended}: {left}");
        Seen { all, left }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn in_terminal(folder: &Folder, words: &[&str]) -> Seen {
    Terminal::new(&folder.0, &[&SLOWLY[..], words].concat(), |_| ()).seen()
}

#[test]
fn a_long_log_has_a_bar_that_is_gone_at_the_end() {
    let folder = folder(40_000);
    let seen = in_terminal(&folder, &["access.log"]);
    assert!(seen.all.contains(" %, ") && seen.all.contains(" lines, "), "{:?}", seen.all);
    let begins = seen.left.trim_start_matches('\n').starts_with(" member ");
    assert!(begins && seen.left.contains("40000 requests in"), "{}", seen.left);
    assert!(!seen.left.contains(" left") && !seen.left.contains('░'), "{}", seen.left);
}

#[test]
fn a_packed_log_counts_as_it_is_packed() {
    let folder = folder(40_000);
    let packed = File::create(folder.0.join("access.log.gz")).unwrap();
    let mut packer = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
    packer.write_all(folder.read("access.log").as_bytes()).unwrap();
    packer.finish().unwrap();
    let seen = in_terminal(&folder, &["access.log.gz"]);
    let percents = numbers_before(&seen.all, " %, ");
    assert!(percents.first().is_some_and(|percent| *percent < 100), "{percents:?}");
    assert!(percents.last().is_some_and(|percent| *percent > 0), "{percents:?}: {:?}", seen.all);
}

/// The numbers before a word.
fn numbers_before(text: &str, word: &str) -> Vec<u32> {
    let mut parts: Vec<&str> = text.split(word).collect();
    parts.pop();
    parts.iter().filter_map(|before| before.rsplit(' ').next()?.parse().ok()).collect()
}

#[test]
fn lines_of_standard_input_are_counted_beside_a_spinner() {
    let folder = folder(0);
    let mut terminal = Terminal::new(&folder.0, &[&SLOWLY[..], &["-"]].concat(), |command| {
        command.stdin(Stdio::piped());
    });
    let mut input = terminal.process.stdin.take().unwrap();
    let (line, begun, mut sent) = (lines(1), Instant::now(), 0);
    // The program is fed until it has told of some of it.
    while numbers_before(&terminal.so_far(), " lines").iter().all(|count| *count == 0) {
        assert!(begun.elapsed() < SOON, "{sent} lines: {:?}", terminal.so_far());
        input.write_all(line.as_bytes()).unwrap();
        sent += 1;
        thread::sleep(Duration::from_millis(5));
    }
    drop(input);
    let seen = terminal.seen();
    let counts = numbers_before(&seen.all, " lines");
    assert!(counts.is_sorted() && counts.last().is_some_and(|last| *last <= sent), "{counts:?} of {sent}");
    assert!(!seen.all.contains(" left"), "{:?}", seen.all);
    let told = format!("{sent} requests in");
    assert!(seen.left.contains(&told) && !seen.left.contains(" lines"), "{}", seen.left);
}

#[test]
fn nobody_sees_any_of_it_who_does_not_look_at_a_terminal() {
    let folder = folder(20_000);
    let piped = lbctl(&folder.0, &[&SLOWLY[..], &["access.log"]].concat()).done();
    assert_eq!(piped.err, "");
    assert!(!piped.out.contains(['\r', '\x1b', '░']), "{}", piped.out);
    let json = in_terminal(&folder, &["-o", "json", "access.log"]);
    assert!(!json.all.contains('\x1b') && !json.all.contains('░'), "{:?}", json.all);
    serde_json::from_str::<serde_json::Value>(&json.all).unwrap();
    let words = [&SLOWLY[..], &["access.log"]].concat();
    let to_file = File::create(folder.0.join("told")).unwrap();
    let seen = Terminal::new(&folder.0, &words, |command| {
        command.stdout(to_file);
    });
    assert_eq!(seen.seen().all, "", "where the output is a file");
    let dumb = Terminal::new(&folder.0, &words, |command| {
        command.env("TERM", "dumb");
    });
    assert!(!dumb.seen().all.contains(" %, "), "on a terminal that cannot change a line");
}
