// SPDX-License-Identifier: Apache-2.0
//! `lbctl explain`: the decision for one request, by a configuration or script, or by a server.

pub mod words;

use std::rc::Rc;

use explain::ended::settle;
use explain::{Ruling, Told, document};

use crate::args::{ExplainArgs, From};
use crate::conf::read;
use crate::live;
use crate::out::{Exit, Failure, Form, Out, VerbResult, note};
use crate::world::World;
use crate::world::ask::Ask;
use crate::world::setup::Setup;

/// Runs the verb.
pub fn run(out: &Out, args: &ExplainArgs) -> VerbResult {
    let by_files = args.from.config.is_some() || args.from.script.is_some();
    let by_server = args.reach.socket.is_some() || !args.reach.urls.is_empty();
    match (by_files, by_server) {
        (true, true) => Err(Failure::usage(
            "--config and --script say what would be decided without a server, --socket and --url ask one: \
             expected one of the two",
        )),
        (true, false) => by_itself(out, args),
        (false, _) => live::explain::run(out, &ask(args)?, &args.reach),
    }
}

fn by_itself(out: &Out, args: &ExplainArgs) -> VerbResult {
    let setup = setup(&args.from)?;
    let ask = ask(args)?;
    let world = World::new(Rc::new(setup)).map_err(Failure::usage)?;
    let visited = world.visit(&ask);
    let (ended, candidates) = settle(&world, &visited);
    let told = Told { visited, ended, candidates };
    let mut document = document::of(&world, &told, world.setup().unknown.clone());
    let (unknown, errors) = sorted(world.take_errors());
    document.unknown.extend(unknown);
    match out.form {
        Form::Json => out.json(&document)?,
        form => out.line(&words::text(&document, form, "without the server"))?,
    }
    errors.iter().for_each(|error| note(error));
    let served = told.ended.declined || told.ended.member.is_some() || told.ended.target.is_some();
    let answered = matches!(told.visited.verdict, Ruling::Answer { failed: false, .. });
    Ok(if served || answered { Exit::Done } else { Exit::No })
}

/// Keys that only the server knows, and what went wrong; each once.
fn sorted(mut all: Vec<String>) -> (Vec<String>, Vec<String>) {
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|text| seen.insert(text.clone()));
    let is_key = |text: &String| text.starts_with("key=");
    let (keys, errors) = all.into_iter().partition::<Vec<_>, _>(is_key);
    let empty = |text| format!("{text}; an empty key was taken");
    (keys.into_iter().map(empty).collect(), errors)
}

/// The source of decisions.
pub fn setup(from: &From) -> Result<Setup, Failure> {
    let mut setup = match (&from.config, &from.script) {
        (Some(config), _) => Setup::of(read::read(config, &from.defines).map_err(Failure::usage)?),
        (None, Some(_)) => Setup::empty().map_err(Failure::usage)?,
        (None, None) => {
            return Err(Failure::usage("nothing decides: expected --config HTTPD.CONF or --script FILE"));
        }
    };
    (setup.seed, setup.defines) = (from.seed, from.defines.clone());
    if let Some(script) = &from.script {
        let (path, function) = match script.rsplit_once(':') {
            Some((path, function)) if !function.is_empty() && !function.contains(['/', '.']) => {
                (path, Some(function))
            }
            _ => (script.as_str(), None),
        };
        let whole =
            std::fs::canonicalize(path).map_err(|error| Failure::usage(format!("{path}: {error}")))?;
        setup.ask_script(&whole, function, None);
    }
    Ok(setup)
}

fn ask(args: &ExplainArgs) -> Result<Ask, Failure> {
    let mut ask = Ask::of(&args.url).map_err(Failure::usage)?;
    ask.method = args.method.clone();
    ask.client = args.client.map(|client| client.to_string());
    ask.user = args.user.clone();
    for header in &args.headers {
        let (name, value) = header
            .split_once(':')
            .ok_or_else(|| Failure::usage(format!("-H '{header}': expected 'Name: value'")))?;
        ask.headers.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    Ok(ask)
}
