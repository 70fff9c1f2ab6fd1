// SPDX-License-Identifier: Apache-2.0
//! `lbctl check`: what is legal in a configuration, and probably wrong.

mod dumped;
mod findings;
mod reach;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use serde::Serialize;

use self::findings::Remark;
use crate::args::CheckArgs;
use crate::conf::{read, text};
use crate::out::{Exit, Failure, Form, Out, Tone, VerbResult};
use crate::world::World;
use crate::world::setup::Setup;

/// Where Debian and others have the configuration.
const USUAL: [&str; 3] =
    ["/etc/apache2/apache2.conf", "/etc/httpd/conf/httpd.conf", "/usr/local/apache2/conf/httpd.conf"];

#[derive(Serialize)]
struct Document<'f> {
    file: String,
    findings: &'f [Remark],
}

/// Runs the verb.
pub fn run(out: &Out, args: &CheckArgs) -> VerbResult {
    let file = file(args)?;
    let dump = match &args.httpd {
        Some(httpd) => Some(ask_httpd(httpd, &file, &args.defines)?),
        None => None,
    };
    let mut found = findings_of(&file, &args.defines);
    if let Some(dump) = dump {
        found.extend(dumped::unseen(&dump, &file, &args.defines));
    }
    if args.reach && found.iter().all(|finding| !finding.is_error) {
        let read = read::read(&file, &args.defines).map_err(Failure::usage)?;
        found.extend(reach::unreachable(&read.config.pools));
    }
    if out.form == Form::Json {
        out.json(&Document { file: file.display().to_string(), findings: &found })?;
    } else {
        for finding in &found {
            let kind = if finding.is_error { out.tone(Tone::Bad, "error") } else { "warning".into() };
            out.line(&format!("{}: {kind}: {}", finding.place, finding.text))?;
        }
    }
    Ok(if found.is_empty() { Exit::Done } else { Exit::No })
}

fn file(args: &CheckArgs) -> Result<PathBuf, Failure> {
    let known = args.file.clone().or_else(|| USUAL.iter().map(PathBuf::from).find(|path| path.is_file()));
    let expected = || format!("which configuration? Expected a file, or one of {}", USUAL.join(", "));
    let file = known.ok_or_else(|| Failure::usage(expected()))?;
    std::fs::canonicalize(&file).map_err(|error| Failure::usage(format!("{}: {error}", file.display())))
}

/// httpd's own word on the syntax, and what the module in it has read.
fn ask_httpd(httpd: &Path, file: &Path, defines: &[String]) -> Result<String, Failure> {
    let defines = defines.iter().flat_map(|define| ["-D", define.as_str()]);
    let mut command = Command::new(httpd);
    command.args(["-t", "-D", "DUMP_LUA_BALANCER"]).args(defines).arg("-f").arg(file);
    let said = command.output().map_err(|error| Failure {
        exit: Exit::Unreachable,
        text: format!("{}: {error}: expected httpd, or apache2", httpd.display()),
    })?;
    if said.status.success() {
        return Ok(String::from_utf8_lossy(&said.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&said.stderr).trim().to_owned();
    Err(Failure { exit: Exit::No, text: format!("{} -t: {words}", httpd.display()) })
}

fn findings_of(file: &Path, defines: &[String]) -> Vec<Remark> {
    let wrong = |text: String| vec![Remark::error(file.display().to_string(), text)];
    let text = match text::read(file, defines) {
        Ok(text) => text,
        Err(error) => return wrong(error),
    };
    let read = match read::read(file, defines) {
        Ok(read) => read,
        Err(error) => return wrong(error),
    };
    let mut found = findings::of(&read, &text);
    if let Err(error) = World::new(Rc::new(Setup::of(read))) {
        found.push(Remark::error(file.display().to_string(), error));
    }
    found
}
