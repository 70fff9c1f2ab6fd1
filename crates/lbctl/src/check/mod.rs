// SPDX-License-Identifier: Apache-2.0
//! `lbctl check`: what is legal in a configuration, and probably wrong.

mod dumped;
mod findings;
mod hooks;
mod reach;
mod server;

use std::path::{Path, PathBuf};
use std::rc::Rc;

use balance::api::Balancer;
use config::Pool;
use serde::Serialize;

use self::dumped::Dump;
use self::findings::Remark;
use self::server::Word;
use crate::args::CheckArgs;
use crate::clean;
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

/// Runs the verb. Without an httpd, the file itself is looked at all the same.
pub fn run(out: &Out, args: &CheckArgs) -> VerbResult {
    let file = file(args)?;
    let asked = match args.without_httpd {
        true => Ok(Word::NotAsked),
        false => server::ask(args.httpd.as_deref(), &file, &args.defines),
    };
    let mut looked = match &asked {
        Ok(Word::Taken(dump)) => match Dump::read(dump, &file) {
            Ok(dump) => Looked::at(&file, &args.defines, Some(&dump)),
            Err(remark) => Looked::at(&file, &args.defines, None).with(remark),
        },
        _ => Looked::at(&file, &args.defines, None),
    };
    if let Ok(Word::Refused(remark)) = &asked {
        // Its word on a line counts for ours.
        looked.found.retain(|own| !own.is_error || own.place != remark.place);
        looked.found.insert(0, remark.clone());
    }
    let Looked { pools, mut found } = looked;
    if args.reach && found.iter().all(|finding| !finding.is_error) {
        found.extend(reach::unreachable(&pools));
    }
    tell(out, &file, &found)?;
    asked?;
    Ok(if found.is_empty() { Exit::Done } else { Exit::No })
}

fn tell(out: &Out, file: &Path, found: &[Remark]) -> Result<(), Failure> {
    if out.form == Form::Json {
        return Ok(out.json(&Document { file: file.display().to_string(), findings: found })?);
    }
    for finding in found {
        let kind = if finding.is_error { out.tone(Tone::Bad, "error") } else { "warning".into() };
        out.line(&format!("{}: {kind}: {}", clean::text(&finding.place), clean::text(&finding.text)))?;
    }
    Ok(())
}

fn file(args: &CheckArgs) -> Result<PathBuf, Failure> {
    let known = args.file.clone().or_else(|| USUAL.iter().map(PathBuf::from).find(|path| path.is_file()));
    let expected = || format!("which configuration? Expected a file, or one of {}", USUAL.join(", "));
    let file = known.ok_or_else(|| Failure::usage(expected()))?;
    std::fs::canonicalize(&file).map_err(|error| Failure::usage(format!("{}: {error}", file.display())))
}

/// A configuration that was looked at.
struct Looked {
    pools: Vec<Pool>,
    found: Vec<Remark>,
}

impl Looked {
    /// The file, with the parts that only httpd sees.
    fn at(file: &Path, defines: &[String], dump: Option<&Dump>) -> Self {
        let wrong = |text: String| Looked { pools: Vec::new(), found: vec![Remark::told(file, &text)] };
        let text = match text::read(file, defines) {
            Ok(text) => text,
            Err(error) => return wrong(error),
        };
        let mut read = match read::read(file, defines) {
            Ok(read) => read,
            Err(error) => return wrong(error),
        };
        let unseen = dump.map(|dump| dump.complete(&mut read.config)).unwrap_or_default();
        let world = World::new(Rc::new(Setup::of(read.clone())));
        let names = world.as_ref().map(|world| world.handle().names()).unwrap_or_default();
        let mut found = findings::of(&read, &text, &names);
        match world {
            Ok(world) => hooks::idle(world.setup(), &mut found),
            Err(error) => found.push(findings::of_script(&read.config, file, error)),
        }
        found.extend(unseen);
        Looked { pools: read.config.pools, found }
    }

    fn with(mut self, remark: Remark) -> Self {
        self.found.push(remark);
        self
    }
}
