// SPDX-License-Identifier: Apache-2.0
//! Real servers of DNS, each in a folder and at a port of its own, ended with its value.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use server_tests::ports::ReservedPort;
use server_tests::wait_until;

const SOON: Duration = Duration::from_secs(20);

/// A running server.
pub struct DnsServer {
    process: Option<Child>,
    folder: PathBuf,
    reserved: ReservedPort,
    command: Vec<String>,
}

impl DnsServer {
    /// dnsmasq with these hosts (lines `address name`) and further lines of its configuration.
    /// Names end in `.internal`; it knows no others.
    pub fn dnsmasq(hosts: &str, lines: &str) -> Self {
        let (folder, reserved) = place();
        let (at, port) = (folder.display(), reserved.port());
        let config = format!(
            "port={port}\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\nno-poll\nuser=root\n\
             pid-file=\nlocal=/internal/\nlocal-ttl=1\naddn-hosts={at}/hosts\nlog-facility={at}/log\n{lines}\n"
        );
        fs::write(folder.join("dnsmasq.conf"), config).expect("written");
        fs::write(folder.join("hosts"), hosts).expect("written");
        let command = vec!["dnsmasq".to_owned(), "-k".to_owned(), format!("--conf-file={at}/dnsmasq.conf")];
        DnsServer { process: None, folder, reserved, command }.started()
    }

    /// Knot with the zone `internal.`, with these lines beyond its SOA, whose answers of nothing
    /// hold for a second.
    pub fn knot(lines: &str) -> Self {
        let (folder, reserved) = place();
        let (at, port) = (folder.display(), reserved.port());
        let config = format!(
            "server:\n    listen: 127.0.0.1@{port}\n    rundir: {at}\n    udp-workers: 1\n    tcp-workers: 1\n    \
             background-workers: 1\ndatabase:\n    storage: {at}\nlog:\n  - target: {at}/log\n    any: info\n\
             zone:\n  - domain: internal\n    storage: {at}\n    file: internal.zone\n    zonefile-load: whole\n    \
             journal-content: none\n"
        );
        fs::write(folder.join("knot.conf"), config).expect("written");
        let command = ["knotd", "-c"].map(str::to_owned).into_iter();
        let command = command.chain([folder.join("knot.conf").display().to_string()]).collect();
        let server = DnsServer { process: None, folder, reserved, command };
        server.write_zone(lines);
        server.started()
    }

    /// `resolver=` for it.
    pub fn resolver(&self) -> String {
        format!("resolver=127.0.0.1:{}", self.reserved.port())
    }

    fn started(mut self) -> Self {
        self.start();
        self
    }

    /// Starts it again.
    pub fn start(&mut self) {
        let (program, arguments) = self.command.split_first().expect("a program");
        let process =
            Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let package = if program == "knotd" { "knot" } else { "dnsmasq-base" };
        self.process =
            Some(process.unwrap_or_else(|error| {
                panic!("{program} does not run ({error}): apt-get install {package}")
            }));
        let folder = self.folder.clone();
        wait_until(&format!("an answer of {program}, see {folder:?}"), SOON, || self.answers());
    }

    /// Whether it answers anything at all.
    fn answers(&self) -> bool {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
        socket.connect((Ipv4Addr::LOCALHOST, self.reserved.port())).expect("a peer");
        // `internal`, of type SOA.
        let question = b"\x01\x02\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x08internal\x00\x00\x06\x00\x01";
        let _ = socket.send(question);
        socket.recv(&mut [0; 512]).is_ok_and(|length| length > 12)
    }

    /// Other hosts, from now on.
    pub fn set_hosts(&self, hosts: &str) {
        fs::write(self.folder.join("hosts"), hosts).expect("written");
        self.signal(Signal::SIGHUP);
    }

    /// Another zone, from now on.
    pub fn set_zone(&self, lines: &str) {
        self.write_zone(lines);
        self.signal(Signal::SIGHUP);
    }

    fn write_zone(&self, lines: &str) {
        static SERIAL: AtomicU32 = AtomicU32::new(1);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let zone = format!(
            "$ORIGIN internal.\n$TTL 1\n@ 3600 SOA ns admin {serial} 3600 600 86400 1\n@ NS ns\nns A 127.0.0.1\n{lines}\n"
        );
        fs::write(self.folder.join("internal.zone"), zone).expect("written");
    }

    pub fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().expect("it runs");
        kill(Pid::from_raw(process.id() as i32), signal).expect("a signal");
    }

    /// Ends it at once.
    pub fn end(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.end();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A folder, and a port that is free for both protocols.
fn place() -> (PathBuf, ReservedPort) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("lua-balancer-dns-{}-{number}", std::process::id());
    let folder = Path::new(&std::env::temp_dir()).join(name);
    fs::create_dir_all(&folder).expect("a folder");
    let is_free = |port: &ReservedPort| UdpSocket::bind((Ipv4Addr::LOCALHOST, port.port())).is_ok();
    let reserved = std::iter::repeat_with(ReservedPort::new).find(is_free).expect("a port");
    (folder, reserved)
}
