// SPDX-License-Identifier: Apache-2.0
//! Processes: a server that is not httpd, the tree below a process, a program that may not take too
//! long.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::stop;

const POLL: Duration = Duration::from_millis(5);

/// A folder of its own, gone when dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A new one, which other accounts may enter.
    pub fn new() -> Self {
        static COUNTER: AtomicUsize = AtomicUsize::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("lua-balancer-bench-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("create a folder");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("open the folder");
        Self(path)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("write a file");
        path
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server in a process group and a folder of its own, ended when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    folder: Folder,
}

impl Process {
    /// Starts a program in the foreground and waits until it `serves`; an `Err` is what it said.
    pub fn start(
        mut command: Command,
        folder: Folder,
        mut serves: impl FnMut() -> bool,
    ) -> Result<Self, String> {
        let program = command.get_program().to_string_lossy().into_owned();
        let output = fs::File::create(folder.path().join("output")).map_err(|error| error.to_string())?;
        let copy = output.try_clone().map_err(|error| error.to_string())?;
        command.stdin(Stdio::null()).stdout(copy).stderr(output).process_group(0);
        let child = command.spawn().map_err(|error| format!("cannot start {program}: {error}"))?;
        let mut process = Self { child, folder };
        let deadline = Instant::now() + Duration::from_secs(20);
        while !serves() {
            if let Ok(Some(status)) = process.child.try_wait() {
                return Err(format!("{program} ends at once ({status}): {}", process.output()));
            }
            if Instant::now() > deadline || stop::requested() {
                return Err(format!("{program} does not serve: {}", process.output()));
            }
            thread::sleep(POLL);
        }
        Ok(process)
    }

    /// The pid of the process that was started.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The last lines of its output.
    pub fn output(&self) -> String {
        let read = |name: &str| fs::read(self.folder.path().join(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&[read("output"), read("error.log")].concat()).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join(" | ")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let group = Pid::from_raw(i32::try_from(self.pid()).expect("a pid"));
        let _ = signal::kill(group, Signal::SIGTERM);
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(POLL);
        }
        let _ = signal::killpg(group, Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// Whether somebody listens at a loopback address.
pub fn listens(address: &str, port: u16) -> bool {
    let address = format!("{address}:{port}").parse().expect("an address");
    std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}

/// The pids of a process and all that descend from it.
pub fn tree(root: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").expect("read /proc").flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        if let Some((pid, parent)) = pid.and_then(|pid| Some((pid, parent_of(pid)?))) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children.remove(pid).unwrap_or_default());
        next += 1;
    }
    found
}

/// The second field of /proc/PID/stat after the name, which may hold anything.
fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// Standard output and error of a program that ends by itself; it is killed when it takes longer
/// than `limit`, or when the run shall stop. The output must fit into a pipe.
pub fn output_of(command: &mut Command, limit: Duration) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("cannot run {program}: {error}"))?;
    let deadline = Instant::now() + limit;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Ok(status),
            Ok(None) if stop::requested() => break Err("stopped".to_owned()),
            Ok(None) if Instant::now() > deadline => {
                break Err(format!("{program} takes longer than {limit:?}"));
            }
            Ok(None) => thread::sleep(POLL),
            Err(error) => break Err(error.to_string()),
        }
    };
    let _ = child.kill();
    let _ = child.wait();
    let status = status?;
    let mut text = String::new();
    let _ = child.stdout.take().map(|mut stream| stream.read_to_string(&mut text));
    let _ = child.stderr.take().map(|mut stream| stream.read_to_string(&mut text));
    if status.success() { Ok(text) } else { Err(format!("{program}: {status}: {}", text.trim())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_takes_too_long_is_killed() {
        let start = Instant::now();
        let said = output_of(Command::new("sleep").arg("60"), Duration::from_millis(50));
        assert!(said.is_err_and(|error| error.contains("longer")));
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn the_tree_holds_children_of_children() {
        let mut shell = Command::new("sh").args(["-c", "sleep 60 & wait"]).process_group(0).spawn().unwrap();
        let both = || tree(shell.id()).len() == 2;
        server_tests::wait_until("the shell's child", Duration::from_secs(10), both);
        signal::killpg(Pid::from_raw(shell.id().cast_signed()), Signal::SIGKILL).unwrap();
        shell.wait().unwrap();
    }
}
