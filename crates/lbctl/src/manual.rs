// SPDX-License-Identifier: Apache-2.0
//! Completions and manual pages, made of the words of the command line.

use std::fs;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Cli;
use crate::out::{Exit, Failure, Out, VerbResult};

/// Writes completions to standard output.
pub fn completions(shell: Shell) -> VerbResult {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "lbctl", &mut text);
    Out::text(&String::from_utf8_lossy(&text))?;
    Ok(Exit::Done)
}

/// Writes a page for the program, and one for each verb.
pub fn pages(folder: &Path) -> VerbResult {
    let shown = folder.display();
    fs::create_dir_all(folder).map_err(|error| Failure::usage(format!("{shown}: {error}")))?;
    let written = clap_mangen::generate_to(Cli::command(), folder);
    written.map_err(|error| Failure::usage(format!("{shown}: {error}")))?;
    Ok(Exit::Done)
}
