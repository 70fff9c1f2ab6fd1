// SPDX-License-Identifier: Apache-2.0
//! A real etcd, in a folder and at ports of its own, ended with its value.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::statvfs::statvfs;
use nix::unistd::Pid;

use crate::ports::ReservedPort;
use crate::wait::wait_until;

const SOON: Duration = Duration::from_secs(30);

/// A running etcd.
pub struct Etcd {
    process: Option<Child>,
    folder: PathBuf,
    client: ReservedPort,
    peer: ReservedPort,
    /// `name=http://127.0.0.1:peer`, of all nodes.
    nodes: String,
    name: &'static str,
    arguments: Vec<String>,
    scheme: &'static str,
    /// Of etcdctl.
    options: Vec<String>,
}

impl Etcd {
    /// Starts one, which asks for nobody's name.
    pub fn start() -> Self {
        Self::start_with("http", &[], |_| Vec::new())
    }

    /// Starts one with options of etcdctl and further arguments, which are made of its folder.
    /// `https` needs those of its certificate.
    pub fn start_with(
        scheme: &'static str,
        options: &[&str],
        arguments: impl FnOnce(&std::path::Path) -> Vec<String>,
    ) -> Self {
        let mut etcd = Self::prepared("one", scheme);
        etcd.arguments = arguments(&etcd.folder);
        etcd.nodes = etcd.node();
        etcd.set_options(options);
        etcd.start_again();
        etcd
    }

    /// Three nodes that are one etcd.
    pub fn cluster() -> [Self; 3] {
        let mut nodes = ["one", "two", "three"].map(|name| Self::prepared(name, "http"));
        let all = nodes.iter().map(Self::node).collect::<Vec<_>>().join(",");
        for node in &mut nodes {
            node.nodes.clone_from(&all);
            node.spawn();
        }
        nodes.iter().for_each(Self::wait);
        nodes
    }

    fn prepared(name: &'static str, scheme: &'static str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = place().join(format!("lua-balancer-etcd-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let (client, peer) = (ReservedPort::new(), ReservedPort::new());
        let (nodes, arguments, options) = (String::new(), Vec::new(), Vec::new());
        Etcd { process: None, folder, client, peer, nodes, name, arguments, scheme, options }
    }

    fn node(&self) -> String {
        format!("{}=http://127.0.0.1:{}", self.name, self.peer.port())
    }

    /// `http://127.0.0.1:port`.
    pub fn endpoint(&self) -> String {
        let host = if self.scheme == "https" { "localhost" } else { "127.0.0.1" };
        format!("{}://{host}:{}", self.scheme, self.client.port())
    }

    /// Its folder.
    pub fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    /// Options of etcdctl from now on, for example `--user=root:password`.
    pub fn set_options(&mut self, options: &[&str]) {
        self.options = options.iter().map(|option| (*option).to_owned()).collect();
    }

    /// Starts it again, with the data that it has, and waits until it answers.
    pub fn start_again(&mut self) {
        self.spawn();
        self.wait();
    }

    fn spawn(&mut self) {
        let peer = format!("http://127.0.0.1:{}", self.peer.port());
        let client = self.endpoint();
        let listen = client.replace("localhost", "127.0.0.1");
        let process = Command::new("etcd")
            .current_dir(&self.folder)
            .args(["--data-dir", "data", "--name", self.name, "--log-level", "error"])
            .args(["--listen-client-urls", &listen, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .arg(format!("--initial-cluster={}", self.nodes))
            .args(&self.arguments)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(self.folder.join("log")).expect("a log"))
            .spawn();
        self.process = Some(process.unwrap_or_else(|error| {
            panic!("etcd does not run ({error}): apt-get install etcd-server etcd-client")
        }));
    }

    fn wait(&self) {
        wait_until("etcd to answer", SOON, || self.try_control(&["get", "/"]).is_ok());
    }

    /// Has etcdctl do this. Returns the text that it has written.
    pub fn control(&self, arguments: &[&str]) -> String {
        self.try_control(arguments).unwrap_or_else(|error| panic!("etcdctl {arguments:?}: {error}"))
    }

    fn try_control(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new("etcdctl")
            .current_dir(&self.folder)
            .env("ETCDCTL_API", "3")
            .arg(format!("--endpoints={}", self.endpoint()))
            .args(&self.options)
            .args(arguments)
            .output()
            .map_err(|error| error.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        // It says of a server that is just starting that it has no leader, and succeeds.
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Writes a key.
    pub fn put(&self, key: &str, value: &str) {
        self.control(&["put", "--", key, value]);
    }

    /// Removes a key.
    pub fn delete(&self, key: &str) {
        self.control(&["del", key]);
    }

    /// The revision of now.
    pub fn revision(&self) -> i64 {
        let text = self.control(&["get", "/", "-w", "json"]);
        let answer: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        answer["header"]["revision"].as_i64().expect("a revision")
    }

    /// Forgets all changes before now.
    pub fn compact(&self) {
        self.control(&["compact", &self.revision().to_string()]);
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().expect("it runs");
        kill(Pid::from_raw(process.id() as i32), signal).expect("a signal");
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Takes its data away; it has to be dead.
    pub fn wipe(&self) {
        assert!(self.process.is_none(), "it runs");
        std::fs::remove_dir_all(self.folder.join("data")).expect("wiped");
    }

    /// Keeps a copy of its data; it has to be dead.
    pub fn back_up(&self) {
        self.copy("data", "backup");
    }

    /// Puts the copy in place of its data; it has to be dead.
    pub fn restore(&self) {
        self.wipe();
        self.copy("backup", "data");
    }

    fn copy(&self, from: &str, to: &str) {
        assert!(self.process.is_none(), "it runs");
        let done = Command::new("cp").current_dir(&self.folder).args(["-R", from, to]).status();
        assert!(done.expect("cp").success());
    }
}

/// Where an etcd keeps its data: it waits for the disk at each change, and for a busy disk longer
/// than it waits for itself. In memory, where there is room for those of all tests.
fn place() -> PathBuf {
    const ROOM: u64 = 4 << 30;
    let memory = PathBuf::from("/dev/shm");
    let found = statvfs(&memory).ok();
    let room = found.map_or(0, |found| found.blocks_available() * found.fragment_size());
    if room >= ROOM { memory } else { std::env::temp_dir() }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            eprintln!("---- etcd {} ----\n{log}", self.endpoint());
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
