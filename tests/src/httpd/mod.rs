// SPDX-License-Identifier: Apache-2.0
//! A real httpd as a value: own folder, own port, ended when dropped; prints its configuration and
//! error log when the test panics.

mod builder;
mod installed;
mod logs;
mod processes;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

pub use builder::{Builder, ConfigTest, Mpm, account};
pub use installed::{Installed, installed};
pub use logs::AccessLine;

use processes::{all_pids, all_sleep, group_of_vetting, living_child_of, tasks_of};

use crate::client::Client;
use crate::ports::ReservedPort;
use crate::wait::{eventually, wait_until};

/// How long a server may take to start, restart or end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Counts the probes of [`Httpd::clients_in_children`].
static PROBES: AtomicUsize = AtomicUsize::new(0);

/// The server's own `/etc/hosts`, see [`Builder::hosts`].
const HOSTS: &str = "hosts";
/// Puts the file `$1` in place of `/etc/hosts`, in a mount namespace of its own, and becomes the
/// rest of the words.
const WITH_HOSTS: &str = r#"mount --bind "$1" /etc/hosts && shift && exec "$@""#;

/// Where the module is to panic, see [`Builder::with_faults`].
const FAULTS: &str = "faults";

/// Where the module answers with its snapshot ([`Builder::with_member_states`]).
pub const DOOR: &str = "/--state";
/// A server whose folder has this file opens the door.
pub(crate) const DOOR_FILE: &str = "door";

/// The folder of state files in a server's own, where a test makes one.
pub const STATES: &str = "states";

/// A running httpd.
#[derive(Debug)]
pub struct Httpd {
    dir: PathBuf,
    config: PathBuf,
    port: ReservedPort,
    process: Child,
    /// How many children start, and how many tasks each has; None under prefork.
    tasks: Option<(usize, usize)>,
    /// The command that runs httpd when it is started again; empty: httpd itself.
    again: String,
}

impl Httpd {
    /// A server to configure.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// `wrapper`: a checker that httpd runs under, with its options; or nothing.
    fn launch(
        dir: PathBuf,
        config: PathBuf,
        port: ReservedPort,
        wrapper: &str,
        tasks: Option<(usize, usize)>,
    ) -> Result<Self, String> {
        let process = Self::spawn(&dir, &config, wrapper);
        let mut httpd = Self { dir, config, port, process, tasks, again: String::new() };
        httpd.wait_for_generation(1)?;
        httpd.wait_for_tasks();
        Ok(httpd)
    }

    /// Starts the program on the same folder and configuration, after a stop, without a checker but
    /// as the same account. The error log begins anew.
    pub fn start_again(&mut self) {
        assert!(self.exit_status().is_some(), "the server runs still");
        let log = self.dir.join("error.log");
        fs::rename(&log, self.dir.join("error.log.before")).expect("move the error log away");
        self.process = Self::spawn(&self.dir, &self.config, &self.again);
        self.wait_for_generation(1).unwrap_or_else(|log| panic!("httpd does not start again:\n{log}"));
        self.wait_for_tasks();
    }

    fn spawn(dir: &Path, config: &Path, wrapper: &str) -> Child {
        let output = fs::File::create(dir.join("output")).expect("create the output file");
        let hosts = dir.join(HOSTS);
        let mut words = if hosts.exists() { with_hosts(&hosts) } else { Vec::new() };
        words.extend(wrapper.split_whitespace().map(OsString::from));
        words.push(installed().program.clone().into());
        let mut command = Command::new(&words[0]);
        command.env("LUA_BALANCER_FAULTS", dir.join(FAULTS));
        if !wrapper.is_empty() {
            command.env("LUA_BALANCER_TEST_SLOWDOWN", "5");
        }
        if dir.join(DOOR_FILE).exists() {
            command.env("LUA_BALANCER_TEST_DOOR", DOOR);
        }
        // No server of a test keeps its state where one that is installed does.
        command.env("LUA_BALANCER_STATEDIR", dir.join(STATES));
        command.args(&words[1..]).arg("-DFOREGROUND").arg("-d").arg(dir).arg("-f").arg(config);
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("share the output file"))
            .stderr(output);
        command.process_group(0).spawn().expect("start httpd")
    }

    /// Why no server here can have an `/etc/hosts` of its own ([`Builder::hosts`]); None when it
    /// can.
    pub fn own_hosts_denied() -> Option<String> {
        let words = with_hosts(Path::new("/etc/hosts"));
        let output = match Command::new(&words[0]).args(&words[1..]).arg("true").output() {
            Ok(output) if output.status.success() => return None,
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        Some(format!("no mount namespace of its own for a server: {output}"))
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.port()
    }

    /// Its folder, which is also ServerRoot.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The pid of the parent process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// A new client of this server.
    pub fn client(&self) -> Client {
        Client::new(self.port())
    }

    /// Makes the module panic at these places (words) from now on; at none, when there are none.
    /// Needs [`Builder::with_faults`].
    pub fn fault(&self, places: &str) {
        self.write(FAULTS, places);
    }

    /// Replaces a file of the server's folder at once, by rename.
    pub fn write(&self, name: &str, content: &str) {
        builder::write_file(&self.dir, name, content.as_bytes());
    }

    /// Overwrites a file of the server's folder in place, as some editors do.
    pub fn write_in_place(&self, name: &str, content: &str) {
        fs::write(self.dir.join(name), content).expect("overwrite a file");
    }

    /// Replaces text in the configuration file; takes effect with the next restart.
    pub fn edit_config(&self, from: &str, to: &str) {
        let text = fs::read_to_string(&self.config).expect("read the configuration");
        assert!(text.contains(from), "no {from:?} in the configuration");
        self.write("httpd.conf", &text.replace(from, to));
    }

    /// `httpd -t` on the configuration as it is now.
    pub fn configtest(&self) -> ConfigTest {
        builder::run_configtest(&self.dir, &self.config)
    }

    /// SIGUSR1; returns when the new generation serves.
    pub fn graceful(&mut self) {
        self.next_generation(Signal::SIGUSR1);
    }

    /// SIGHUP; returns when the new generation serves.
    pub fn restart(&mut self) {
        self.let_connections_end();
        self.next_generation(Signal::SIGHUP);
    }

    /// SIGKILL for the parent and all its processes.
    pub fn kill(&mut self) {
        self.signal_all(Signal::SIGKILL);
        eventually("the killed server to go", PATIENCE, || self.exit_status());
    }

    /// Sends a signal to the parent and all its processes.
    pub fn signal_all(&self, signal: Signal) {
        signal::killpg(raw_pid(self.pid()), signal).expect("signal the server");
    }

    /// SIGTERM; returns how long the end took, and how the process ended.
    pub fn stop(&mut self) -> (Duration, ExitStatus) {
        self.let_connections_end();
        let start = Instant::now();
        self.signal(self.pid(), Signal::SIGTERM);
        let status = eventually("httpd to end after SIGTERM", PATIENCE, || self.exit_status());
        (start.elapsed(), status)
    }

    /// SIGWINCH: what is in flight is answered first. Returns how long the end took, and how the
    /// process ended.
    pub fn graceful_stop(&mut self) -> (Duration, ExitStatus) {
        let start = Instant::now();
        self.signal(self.pid(), Signal::SIGWINCH);
        let status = eventually("httpd to end after SIGWINCH", PATIENCE, || self.exit_status());
        (start.elapsed(), status)
    }

    /// Sends a signal to the parent or one of its children.
    pub fn signal(&self, pid: u32, signal: Signal) {
        assert!(pid == self.pid() || self.children().contains(&pid), "process {pid} is not of this server");
        signal::kill(raw_pid(pid), signal).expect("signal a process of the server");
    }

    /// SIGKILL for a child; returns when it is gone.
    pub fn kill_child(&self, pid: u32) {
        self.signal(pid, Signal::SIGKILL);
        wait_until("a killed child to go", PATIENCE, || !self.children().contains(&pid));
    }

    /// The pids of the children, zombies and the module's own process left out, in ascending order.
    pub fn children(&self) -> Vec<u32> {
        let mut children: Vec<u32> =
            all_pids().into_iter().filter(|pid| living_child_of(*pid, self.pid())).collect();
        children.sort_unstable();
        children
    }

    /// The processes of the server that vet scripts: those that wait for work, and those that do
    /// it. Zombies count as well.
    pub fn vetting_processes(&self) -> Vec<u32> {
        all_pids().into_iter().filter(|pid| group_of_vetting(*pid, self.pid())).collect()
    }

    /// How many threads a child has, the module's own left out; none when it has gone.
    pub fn threads_of(&self, pid: u32) -> usize {
        tasks_of(pid).map_or(0, |states| states.len())
    }

    /// Waits until at least `n` children run and returns their pids.
    pub fn wait_for_children(&self, n: usize) -> Vec<u32> {
        eventually(&format!("{n} children"), PATIENCE, || {
            Some(self.children()).filter(|pids| pids.len() >= n)
        })
    }

    /// Clients whose kept-alive connections are held by `n` different children, with those
    /// children's pids. `probe` is asked once for every connection; it should reach no backend.
    pub fn clients_in_children(&self, n: usize, probe: &str) -> BTreeMap<u32, Client> {
        let mut found = BTreeMap::new();
        let mut surplus = Vec::new();
        for _ in 0..500 {
            // No path twice: a line is written after its answer, and that of an earlier probe may
            // be taken for it.
            let path = format!("{probe}/{}", PROBES.fetch_add(1, Ordering::Relaxed));
            let mut client = self.client();
            client.get(&path);
            let line = eventually("the probe's access log line", PATIENCE, || {
                self.access_log().into_iter().rev().find(|line| line.path == path)
            });
            match found.contains_key(&line.pid) {
                true if surplus.len() < 4 => surplus.push(client),
                true => surplus.clear(),
                false => drop(found.insert(line.pid, client)),
            }
            if found.len() == n {
                return found;
            }
        }
        panic!("500 connections met only the children {:?}", found.keys());
    }

    /// Panics when a child crashed.
    pub fn assert_no_crash(&self) {
        let crashes = self.count_log("exit signal (Segmentation|Abort|Bus|Illegal)|panicked at");
        assert_eq!(crashes, 0, "a child crashed or panicked");
    }

    fn next_generation(&mut self, signal: Signal) {
        let generation = self.generations() + 1;
        self.signal(self.pid(), signal);
        if let Err(log) = self.wait_for_generation(generation) {
            panic!("httpd does not restart:\n{log}");
        }
    }

    /// How often the parent said that it serves: once a start and once a restart.
    fn generations(&self) -> usize {
        self.count_log("resuming normal operations")
    }

    fn wait_for_generation(&mut self, generation: usize) -> Result<(), String> {
        eventually("httpd to serve", PATIENCE, || {
            if self.generations() >= generation {
                return Some(Ok(()));
            }
            self.exit_status().map(|status| Err(format!("{status}\n{}{}", self.output(), self.error_log())))
        })
    }

    /// Waits until the threads of the children are all there and wait for work. A child accepts
    /// connections once its threads exist, and drops kept connections, without an answer, whenever
    /// none of them is idle: in its first milliseconds as well, when they have not come to run yet.
    fn wait_for_tasks(&self) {
        let Some((children, tasks)) = self.tasks else { return };
        eventually("the children's threads to wait for work", PATIENCE, || {
            // A helper of another module, as mod_cgid's daemon, is a child as well, of one thread.
            let mut states: Vec<_> = self.children().into_iter().filter_map(tasks_of).collect();
            states.retain(|states| states.len() > 1);
            let there = states.len() >= children && states.iter().all(|states| states.len() >= tasks);
            (there && states.iter().all(|states| all_sleep(states))).then_some(())
        });
    }

    /// Waits a moment for threads that are at the end of a connection, unless there is always one
    /// at work. A hard stop that meets one of them makes the event MPM look at that connection when
    /// it is gone, and crash.
    fn let_connections_end(&self) {
        const MOST: Duration = Duration::from_millis(500);
        let start = Instant::now();
        let is_busy = || self.children().into_iter().filter_map(tasks_of).any(|states| !all_sleep(&states));
        while self.tasks.is_some() && is_busy() && start.elapsed() < MOST {
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn output(&self) -> String {
        fs::read_to_string(self.dir.join("output")).unwrap_or_default()
    }

    fn exit_status(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().expect("wait for httpd")
    }

    fn end(&mut self) {
        if self.exit_status().is_none() {
            let _ = signal::kill(raw_pid(self.pid()), Signal::SIGTERM);
            let deadline = Instant::now() + Duration::from_secs(10);
            while self.exit_status().is_none() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(10));
            }
        }
        let _ = signal::killpg(raw_pid(self.pid()), Signal::SIGKILL);
        let _ = self.process.wait();
    }
}

impl Drop for Httpd {
    fn drop(&mut self) {
        if thread::panicking() {
            let config = fs::read_to_string(&self.config).unwrap_or_default();
            eprintln!("--- httpd.conf\n{config}--- output\n{}--- error.log", self.output());
            eprintln!("{}", tail(&self.error_log(), 200));
        }
        self.end();
        let misfits = if thread::panicking() { Vec::new() } else { self.misfits() };
        let _ = fs::remove_dir_all(&self.dir);
        assert!(misfits.is_empty(), "lines that crates/messages has another form for: {misfits:#?}");
    }
}

fn with_hosts(file: &Path) -> Vec<OsString> {
    let words = ["unshare", "--mount", "sh", "-c", WITH_HOSTS, "sh"].map(OsString::from);
    words.into_iter().chain([file.as_os_str().to_owned()]).collect()
}

fn raw_pid(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).expect("a pid"))
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
