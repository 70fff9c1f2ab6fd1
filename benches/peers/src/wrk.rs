// SPDX-License-Identifier: Apache-2.0
//! wrk in front of a server, and what that costs the server's processes.

use std::process::Command;
use std::time::Duration;

use crate::cpu;
use crate::process::{Folder, output_of};

/// How to load a server.
#[derive(Debug)]
pub struct Load {
    /// Seconds of a turn.
    pub seconds: usize,
    /// Kept-alive connections, each with one request at a time.
    pub connections: usize,
    /// The script that makes wrk ask for many paths instead of `/x`.
    pub many_paths: Option<Folder>,
}

/// The figures of one turn.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// Microseconds of CPU time of the server's processes per request.
    pub cpu_us: f64,
    /// Requests per second.
    pub per_second: f64,
    /// Requests without an answer, or with another than success.
    pub failed: u64,
}

const MANY_PATHS: &str = "local requests, n = {}, 0\nfunction init() for i = 1, 1000 do requests[i] = wrk.format(\"GET\", \"/x/\" .. i) end end\n\
                          function request() n = n % 1000 + 1 return requests[n] end\n";

impl Load {
    /// Every connection asks for `/x`.
    pub fn one_path(seconds: usize, connections: usize) -> Self {
        Self { seconds, connections, many_paths: None }
    }

    /// A thousand paths in turn, so that a hash of the path meets many members.
    pub fn many_paths(seconds: usize, connections: usize) -> Self {
        let folder = Folder::new();
        folder.write("paths.lua", MANY_PATHS);
        Self { seconds, connections, many_paths: Some(folder) }
    }

    /// Loads the server with this parent process and port on 127.0.0.1; an error when more than one
    /// request in a thousand fails.
    pub fn turn(&self, pid: u32, port: u16) -> Result<Turn, String> {
        let before = cpu::time_of(pid);
        let text = self.run(port)?;
        let cpu = cpu::time_of(pid).saturating_sub(before);
        let (requests, failed) = parse(&text)?;
        Ok(Turn {
            cpu_us: cpu.as_secs_f64() * 1e6 / requests,
            per_second: requests / self.seconds.max(1) as f64,
            failed,
        })
    }

    fn run(&self, port: u16) -> Result<String, String> {
        let mut command = Command::new("wrk");
        command.args(["-t1", &format!("-c{}", self.connections), &format!("-d{}s", self.seconds)]);
        if let Some(folder) = &self.many_paths {
            command.arg("-s").arg(folder.path().join("paths.lua"));
        }
        command.arg(format!("http://127.0.0.1:{port}/x"));
        output_of(&mut command, Duration::from_secs(self.seconds as u64 + 15))
    }
}

/// The number of requests, and of failed ones unless they are more than one in a thousand.
fn parse(text: &str) -> Result<(f64, u64), String> {
    let lines = || text.lines().map(str::trim);
    let count = lines().find_map(|line| line.split_once(" requests in ")?.0.parse::<f64>().ok());
    let count = count.filter(|count| *count > 0.0).ok_or("no request was answered")?;
    let bad: Vec<&str> =
        lines().filter(|line| line.starts_with("Non-2xx") || line.starts_with("Socket errors")).collect();
    let after_colons = bad.iter().filter_map(|line| line.split_once(':')).map(|(_, numbers)| numbers);
    let words = after_colons.flat_map(|numbers| numbers.split(|c: char| !c.is_ascii_digit()));
    let failed: u64 = words.filter_map(|word| word.parse::<u64>().ok()).sum();
    if failed as f64 > count / 1000.0 { Err(bad.join("; ")) } else { Ok((count, failed)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "  1 threads and 16 connections\n  26269 requests in 1.00s, 3.20MB read\n";

    #[test]
    fn many_failed_requests_are_an_error_and_few_are_counted() {
        assert_eq!(parse(GOOD), Ok((26269.0, 0)));
        let few = format!(
            "{GOOD}  Socket errors: connect 0, read 1, write 0, timeout 2\n  Non-2xx or 3xx responses: 7\n"
        );
        assert_eq!(parse(&few), Ok((26269.0, 10)));
        let many = format!("{GOOD}  Non-2xx or 3xx responses: 70\n");
        assert_eq!(parse(&many), Err("Non-2xx or 3xx responses: 70".to_owned()));
    }

    #[test]
    fn a_turn_without_requests_is_an_error() {
        assert!(parse("  0 requests in 1.00s, 0B read\n").is_err());
        assert!(parse("").is_err());
    }
}
