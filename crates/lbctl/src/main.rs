// SPDX-License-Identifier: Apache-2.0
//! lbctl: what the module would do, said without one.
//!
//! The decisions are made by the crates that the module consists of, over a store in memory: what
//! is said here is what the server does.
#![forbid(unsafe_code)]

mod args;
mod check;
mod conf;
mod convert;
mod explain;
mod manual;
mod moment;
mod out;
mod simulate;
mod suite;
mod world;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Verb};
use out::{Form, Out, Outcome, note};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let out = Out::new(if cli.json { Form::Json } else { cli.form });
    match run(&out, &cli.verb) {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(failure) => {
            note(&failure.text);
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn run(out: &Out, verb: &Verb) -> Outcome {
    match verb {
        Verb::Test(args) => suite::run(out, args),
        Verb::Explain(args) => explain::run(out, args),
        Verb::Simulate(args) => simulate::run(out, args),
        Verb::Convert(args) => convert::run(out, args),
        Verb::Check(args) => check::run(out, args),
        Verb::Completions { shell } => manual::completions(*shell),
        Verb::Man { folder } => manual::pages(folder),
    }
}
