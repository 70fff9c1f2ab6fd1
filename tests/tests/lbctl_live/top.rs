// SPDX-License-Identifier: Apache-2.0
//! `lbctl top` in a terminal: what is drawn, what keys do, other sizes, a server that goes away.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use nix::pty::{Winsize, openpty};
use server_tests::lbctl::lbctl_program;
use server_tests::{Backend, Httpd, wait_until};

use crate::{SOON, serving};

fn some(number: u16) -> NonZero<u16> {
    NonZero::new(number).expect("rows and columns")
}

/// A terminal with the program in it.
struct Terminal {
    process: Child,
    keys: File,
    device: String,
    shown: Arc<Mutex<vt100::Parser>>,
}

impl Terminal {
    fn new(httpds: &[&Httpd], options: &[&str]) -> Self {
        Terminal::with(httpds, options, false)
    }

    fn with(httpds: &[&Httpd], options: &[&str], no_color: bool) -> Self {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).expect("open a terminal");
        let device = nix::unistd::ttyname(&pty.slave).expect("its name").display().to_string();
        let mut command = Command::new("setsid");
        command
            .args(["--ctty", "--wait"])
            .arg(lbctl_program())
            .args(["top", "--interval", "100ms"])
            .args(options);
        command.env("TERM", "xterm-256color").env_remove("NO_COLOR").env_remove("COLUMNS");
        if no_color {
            command.env("NO_COLOR", "1");
        }
        if let [one] = httpds {
            command.env("LBCTL_SOCKET", one.socket_path());
        }
        for httpd in httpds.iter().filter(|_| httpds.len() > 1) {
            command.arg("--url").arg(format!("http://127.0.0.1:{}/lb", httpd.port()));
        }
        let end = |fd: &OwnedFd| Stdio::from(fd.try_clone().expect("share the terminal"));
        command.stdin(end(&pty.slave)).stdout(end(&pty.slave)).stderr(end(&pty.slave));
        let process = command.spawn().expect("run setsid");
        let shown = Arc::new(Mutex::new(vt100::Parser::new(some(24), some(80), 0)));
        let mut master = File::from(pty.master);
        let keys = master.try_clone().expect("share the terminal");
        let parser = shown.clone();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(size @ 1..) = master.read(&mut bytes) {
                parser.lock().expect("the screen").process(&bytes[..size]);
            }
        });
        Terminal { process, keys, device, shown }
    }

    fn text(&self) -> String {
        self.shown.lock().expect("the screen").screen().contents()
    }

    /// How many letters have a colour of their own.
    fn coloured(&self) -> usize {
        let shown = self.shown.lock().expect("the screen");
        let cells = (0..24).flat_map(|row| (0..80).map(move |column| (row, column)));
        let colours = cells.filter_map(|(row, column)| Some(shown.screen().cell(row, column)?.fgcolor()));
        colours.filter(|colour| *colour != vt100::Color::Default).count()
    }

    #[track_caller]
    fn wait_for(&self, text: &str) {
        wait_until(&format!("{text:?} on the screen"), SOON, || self.text().contains(text));
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("press keys");
    }

    fn resize(&self, rows: u16, columns: u16) {
        self.shown.lock().expect("the screen").screen_mut().set_size(some(rows), some(columns));
        let (rows, columns) = (rows.to_string(), columns.to_string());
        let words = ["-F", &self.device, "rows", &rows, "columns", &columns];
        assert!(Command::new("stty").args(words).status().expect("run stty").success());
    }

    fn leave(mut self) {
        self.press("q");
        wait_until("its end", SOON, || self.process.try_wait().expect("look").is_some());
        assert!(self.process.wait().expect("its end").success());
        // Its last bytes may still be on their way.
        wait_until("the terminal to be as it was", SOON, || {
            let shown = self.shown.lock().expect("the screen");
            !shown.screen().alternate_screen() && !shown.screen().hide_cursor()
        });
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn keys_steer_members_and_the_picture_follows() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = serving(&a, &b).start();
    let mut top = Terminal::new(&[&httpd], &[]);
    top.wait_for("2/2 usable");
    top.press("d");
    top.wait_for("drain app/a at");
    top.press("y");
    wait_until("the drain", SOON, || httpd.member("app", "a").state == "draining");
    top.wait_for("draining");
    top.press("e");
    wait_until("the return", SOON, || httpd.member("app", "a").state == "up");
    top.press("\x1b[Bw7\r");
    wait_until("the weight", SOON, || httpd.member("app", "b").weight == 7);
    top.wait_for("     7 ");
    top.press("xn?");
    top.wait_for("another member");
    top.press(" ");
    assert_eq!(httpd.member("app", "b").state, "up");
    top.leave();
}

#[test]
fn it_lives_through_small_windows_and_a_server_that_goes_away() {
    let [a, b] = Backend::named(["a", "b"]);
    let mut httpd = serving(&a, &b).start();
    let top = Terminal::new(&[&httpd], &[]);
    top.wait_for("2/2 usable");
    for (rows, columns) in [(10, 40), (3, 20), (1, 1), (50, 200), (24, 80)] {
        top.resize(rows, columns);
        thread::sleep(std::time::Duration::from_millis(150));
    }
    top.wait_for("q quit");
    httpd.stop();
    top.wait_for("away: ");
    top.leave();
}

#[test]
fn two_servers_stand_side_by_side() {
    let [a, b] = Backend::named(["a", "b"]);
    let start = || serving(&a, &b).config("<Location /lb>\nSetHandler lua-balancer\n</Location>").start();
    let (one, two) = (start(), start());
    two.lbctl(&["drain", "app/a"]).done();
    let mut top = Terminal::new(&[&one, &two], &[]);
    top.wait_for("2/2 usable");
    top.press("\t");
    top.wait_for("1/2 usable");
    top.resize(24, 160);
    wait_until("both of them", SOON, || {
        let text = top.text();
        text.contains("2/2 usable") && text.contains("1/2 usable")
    });
    top.leave();
}

#[test]
fn without_a_terminal_it_says_what_to_do() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = serving(&a, &b).start();
    let said = httpd.lbctl(&["top"]);
    assert!(said.code == 2 && said.err.contains("--once"), "{said:?}");
    let once = httpd.lbctl(&["top", "--once", "--json"]).done();
    assert!(once.out.contains("\"pools\""), "{once:?}");
}

#[test]
fn colours_are_for_those_who_want_them() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = serving(&a, &b).start();
    let colourful = Terminal::new(&[&httpd], &[]);
    colourful.wait_for("2/2 usable");
    assert!(colourful.coloured() > 0);
    colourful.leave();
    let plain = Terminal::with(&[&httpd], &[], true);
    plain.wait_for("2/2 usable");
    assert_eq!(plain.coloured(), 0, "{}", plain.text());
    plain.leave();
}

#[test]
fn a_server_that_comes_back_is_shown_again() {
    let [a, b] = Backend::named(["a", "b"]);
    let mut httpd = serving(&a, &b).start();
    let top = Terminal::new(&[&httpd], &[]);
    top.wait_for("2/2 usable");
    httpd.stop();
    top.wait_for("away: ");
    httpd.start_again();
    wait_until("the server to be there again", SOON, || !top.text().contains("away: "));
    top.wait_for("2/2 usable");
    top.leave();
}
