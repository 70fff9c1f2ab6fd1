// SPDX-License-Identifier: Apache-2.0
//! httpd's own word on a configuration: `httpd -t -D DUMP_LUA_BALANCER`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::findings::Remark;
use crate::out::{Exit, Failure};

/// Its names. Debian's apache2ctl comes first: it sets the variables that Debian's configuration
/// needs. apachectl comes last: Fedora's takes no options.
const NAMES: [&str; 4] = ["apache2ctl", "httpd", "apache2", "apachectl"];
/// Where it usually is, should PATH not say so.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/local/sbin", "/usr/local/apache2/bin", "/usr/bin"];

/// A line of httpd's answer.
pub enum Word {
    /// Nobody asked.
    NotAsked,
    /// It takes the configuration; what it has printed.
    Taken(String),
    /// It does not.
    Refused(Remark),
}

/// Asks this httpd, or the one of the system.
pub fn ask(told: Option<&Path>, file: &Path, defines: &[String]) -> Result<Word, Failure> {
    let nobody = |text: String| Failure { exit: Exit::Unreachable, text };
    let on_path = || {
        let path = std::env::var_os("PATH").unwrap_or_default();
        find(&std::env::split_paths(&path).collect::<Vec<_>>())
    };
    let usual = || find(&FOLDERS.map(PathBuf::from));
    let httpd = told.map(Path::to_owned).or_else(on_path).or_else(usual).ok_or_else(|| {
        nobody(format!(
            "found no httpd: there is none of {} in PATH, {}. --httpd PATH says where it is, \
             --without-httpd looks at the file alone",
            NAMES.join(", "),
            FOLDERS.join(", ")
        ))
    })?;
    let defines = defines.iter().flat_map(|define| ["-D", define.as_str()]);
    let mut command = Command::new(&httpd);
    command.args(["-t", "-D", "DUMP_LUA_BALANCER"]).args(defines).arg("-f").arg(file).stdin(Stdio::null());
    let said = command
        .output()
        .map_err(|error| nobody(format!("{}: {error}: expected httpd, or apache2", httpd.display())))?;
    if said.status.success() {
        return Ok(Word::Taken(String::from_utf8_lossy(&said.stdout).into_owned()));
    }
    let words = String::from_utf8_lossy(&said.stderr);
    let words = if words.trim().is_empty() { said.status.to_string().into() } else { words };
    Ok(Word::Refused(refusal(file, &words)))
}

/// The first that there is, by name.
fn find(folders: &[PathBuf]) -> Option<PathBuf> {
    let runs = |path: &PathBuf| {
        path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    NAMES.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find(runs)
}

/// httpd's complaint about a file, and its place.
fn refusal(file: &Path, words: &str) -> Remark {
    const SYNTAX: &str = "Syntax error on line ";
    let is_talk = |line: &&str| {
        line.starts_with("Action '")
            || line.starts_with("The Apache error log")
            || line.starts_with("AH00558")
    };
    let lines: Vec<&str> = words.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if let Some(at) = lines.iter().position(|line| line.contains(SYNTAX)) {
        let place = lines[at].split(SYNTAX).nth(1).unwrap_or_default().trim_end_matches(':');
        let rest: Vec<&str> = lines[at + 1..].iter().filter(|line| !is_talk(line)).copied().collect();
        return Remark::told(file, &format!("line {place}: {}", rest.join(" ")));
    }
    let rest: Vec<&str> = lines.iter().filter(|line| !is_talk(line)).map(|line| message(line)).collect();
    let mut text = rest.join(" ");
    if text.contains("No MPM loaded") {
        text += " Is this a whole configuration? --without-httpd looks at a part of one";
    }
    Remark::told(file, &text)
}

/// A line of httpd's log without its time, module, process, and the module's id.
fn message(line: &str) -> &str {
    let mut rest = line;
    while let Some(inner) = rest.strip_prefix('[') {
        match inner.split_once("] ") {
            Some((_, after)) => rest = after,
            None => break,
        }
    }
    let id = rest.strip_prefix("LB").and_then(|behind| behind.split_once(": "));
    let is_id = |digits: &str| digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit());
    id.filter(|(digits, _)| is_id(digits)).map_or(rest, |(_, text)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_line_that_httpd_names() {
        let file = Path::new("/c/httpd.conf");
        let told = |words: &str| {
            let remark = refusal(file, words);
            format!("{}: {}", remark.place, remark.text)
        };
        assert_eq!(
            told("AH00526: Syntax error on line 7 of /c/a.conf:\nInvalid command 'X'\nAction '-t' failed.\n"),
            "/c/a.conf:7: Invalid command 'X'"
        );
        assert_eq!(
            told(
                "[Mon Nov 30 08:00:00.1 2026] [lua_balancer:crit] [pid 7:tid 8] LB0006: line 3 of /c/b.conf: no\n"
            ),
            "/c/b.conf:3: no"
        );
        let part = told("AH00534: httpd: No MPM loaded.\n");
        assert!(part.starts_with("/c/httpd.conf: AH00534") && part.contains("--without-httpd"), "{part}");
    }

    #[test]
    fn no_folder_has_an_httpd_that_is_none() {
        let folder = std::env::temp_dir().join(format!("lbctl-find-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("httpd")).expect("make a folder");
        std::fs::write(folder.join("apache2"), "").expect("write a file");
        assert_eq!(find(std::slice::from_ref(&folder)), None);
        let own = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.join("apache2"), own).expect("make it run");
        assert_eq!(find(std::slice::from_ref(&folder)), Some(folder.join("apache2")));
        std::fs::remove_dir_all(&folder).expect("remove the folder");
    }
}
