// SPDX-License-Identifier: Apache-2.0
//! lbctl: what the module would do, told without one, and what it does.
//!
//! Without a server, decisions are made by the crates that the module consists of, over a store in
//! memory: what is told here is what the server does. Running servers are asked and changed by
//! their API (`live`).
#![forbid(unsafe_code)]

mod args;
mod check;
mod clean;
mod conf;
mod convert;
mod document;
mod explain;
mod files;
mod live;
mod live_examples;
mod manual;
mod moment;
mod out;
mod simulate;
mod suite;
mod world;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Verb};
use out::{Exit, Form, Out, VerbResult, note};

fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| wrong_call(&args::with_hint(error)));
    let out = Out::new(if cli.json { Form::Json } else { cli.form });
    let exit = run(&out, &cli.verb).unwrap_or_else(|failure| {
        out.fail(&failure);
        failure.exit
    });
    match out.finish() {
        Ok(()) => ExitCode::from(exit as u8),
        Err(error) => {
            note(&format!("standard output: {error}"));
            ExitCode::from(if exit == Exit::Done { Exit::No } else { exit } as u8)
        }
    }
}

/// Words that are not those of the command line, or a question for help: told, and the end.
fn wrong_call(error: &clap::Error) -> ! {
    if error.use_stderr() && args::wants_json(std::env::args_os().skip(1)) {
        let out = Out::new(Form::Json);
        out.refuse_call(&args::first_words(error));
        out.finish().ok();
    }
    error.exit()
}

fn run(out: &Out, verb: &Verb) -> VerbResult {
    match verb {
        Verb::Test(args) => suite::run(out, args),
        Verb::Explain(args) => explain::run(out, args),
        Verb::Simulate(args) => simulate::run(out, args),
        Verb::Convert(args) => convert::run(out, args),
        Verb::Check(args) => check::run(out, args),
        Verb::Status(args) => live::status::run(out, args),
        Verb::Members(args) => live::status::members(out, args),
        Verb::Add(args) => live::membership::add(out, args),
        Verb::Remove(args) => live::membership::remove(out, args),
        Verb::Weight(args) => live::change::weight(out, args),
        Verb::Drain(args) => live::change::drain(out, args),
        Verb::Enable(args) => live::change::enable(out, args),
        Verb::Disable(args) => live::change::disable(out, args),
        Verb::Reset(args) => live::change::reset(out, args),
        Verb::Wait(args) => live::wait::run(out, args),
        Verb::Rollout(args) => live::rollout::run(out, args),
        Verb::Top(args) => live::top::run(out, args),
        Verb::Events(args) => live::events::run(out, args),
        Verb::Decisions(args) => live::views::decisions(out, args),
        Verb::Scripts(args) => live::views::scripts(out, args),
        Verb::Discovery(args) => live::views::discovery(out, args),
        Verb::State(args) => live::views::state(out, &args.what),
        Verb::Completions { shell } => manual::completions(*shell),
        Verb::Man { folder } => manual::pages(folder),
    }
}
