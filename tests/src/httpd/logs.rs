// SPDX-License-Identifier: Apache-2.0
//! The lines that a server has written into its logs.

use std::collections::BTreeMap;
use std::fs;

use regex::Regex;

use super::{Httpd, PATIENCE};
use crate::wait::eventually;

/// A line of the access log.
#[derive(Clone, Debug, Default)]
pub struct AccessLine {
    /// The child.
    pub pid: u32,
    /// The final status.
    pub status: u16,
    /// The request's method.
    pub method: String,
    /// The path, decoded.
    pub path: String,
    /// `LB_POOL`, `LB_MEMBER`, `LB_METHOD`, `LB_ATTEMPTS`, `LB_REASON`, `LB_SECONDS`; `-` when
    /// unset.
    pub env: BTreeMap<&'static str, String>,
}

/// Bytes from which on httpd may have cut a line of its log off.
const MOST_LINE: usize = 8000;

const ENV_FIELDS: [&str; 6] = ["LB_POOL", "LB_MEMBER", "LB_METHOD", "LB_ATTEMPTS", "LB_REASON", "LB_SECONDS"];

impl Httpd {
    /// The error log so far.
    pub fn error_log(&self) -> String {
        let log = fs::read(self.dir.join("error.log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// How many error log lines match.
    pub fn count_log(&self, pattern: &str) -> usize {
        let pattern = Regex::new(pattern).expect("a pattern");
        self.error_log().lines().filter(|line| pattern.is_match(line)).count()
    }

    /// Waits for an error log line that matches and returns the first.
    pub fn wait_for_log(&self, pattern: &str) -> String {
        self.wait_for_log_lines(pattern, 1).remove(0)
    }

    /// Waits until at least `n` error log lines match and returns them.
    pub fn wait_for_log_lines(&self, pattern: &str, n: usize) -> Vec<String> {
        let regex = Regex::new(pattern).expect("a pattern");
        eventually(&format!("{n} error log lines like /{pattern}/"), PATIENCE, || {
            let log = self.error_log();
            let lines: Vec<String> =
                log.lines().filter(|line| regex.is_match(line)).map(str::to_owned).collect();
            Some(lines).filter(|lines| lines.len() >= n)
        })
    }

    /// Lines of the error log that are not of the form that their id stands for.
    pub fn misfits(&self) -> Vec<String> {
        let is_whole = |line: &&str| line.len() < MOST_LINE && line.contains("[lua_balancer:");
        let is_misfit = |line: &&str| {
            // httpd adds the client's Referer to lines about its requests.
            let found = messages::read(line.split(", referer: ").next().unwrap_or_default());
            found.is_some_and(|(message, text)| !message.is_some_and(|message| message.fits(text)))
        };
        let log = self.error_log();
        log.lines().filter(is_whole).filter(is_misfit).map(str::to_owned).collect()
    }

    /// The access log so far.
    pub fn access_log(&self) -> Vec<AccessLine> {
        let log = fs::read(self.dir.join("access.log")).unwrap_or_default();
        String::from_utf8_lossy(&log).lines().filter_map(parse_access_line).collect()
    }

    /// Waits for the access log line of a path and returns the last one.
    pub fn wait_for_access(&self, path: &str) -> AccessLine {
        eventually(&format!("an access log line for {path}"), PATIENCE, || {
            self.access_log().into_iter().rev().find(|line| line.path == path)
        })
    }
}

fn parse_access_line(line: &str) -> Option<AccessLine> {
    let mut fields = line.split('|').map(str::to_owned);
    let (pid, status) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let (method, path) = (fields.next()?, fields.next()?);
    Some(AccessLine { pid, status, method, path, env: ENV_FIELDS.into_iter().zip(fields).collect() })
}
