// SPDX-License-Identifier: Apache-2.0
//! `lbctl convert`: configurations of others as pools. Lines without a counterpart become comments.

mod balancer;
mod haproxy;
mod nginx;
mod pool;
mod stock;

use std::io::Read as _;
use std::path::Path;

use self::pool::{Converted, PoolBlock, commented};
use crate::args::{ConvertArgs, ConvertFrom};
use crate::conf::read;
use crate::files;
use crate::out::{Exit, Failure, Form, Out, VerbResult};

/// Runs the verb.
pub fn run(out: &Out, args: &ConvertArgs) -> VerbResult {
    let converted = match args.from {
        ConvertFrom::Balancer => balancer::convert(&args.file),
        ConvertFrom::Nginx => source(&args.file).and_then(|text| named(&args.file, nginx::convert(&text))),
        ConvertFrom::Haproxy => source(&args.file).map(|text| haproxy::convert(&text)),
    };
    let converted = converted.map_err(Failure::usage)?;
    let text = taken(text(&converted));
    if out.form == Form::Json {
        let comments: Vec<&str> =
            text.lines().map(str::trim).filter_map(|line| line.strip_prefix("# ")).collect();
        out.json(&serde_json::json!({ "configuration": text, "comments": comments }))?;
    } else {
        out.line(text.trim_end())?;
    }
    Ok(if converted.pools.is_empty() { Exit::No } else { Exit::Done })
}

/// With the file's name in front of an error.
fn named<T>(file: &Path, converted: Result<T, String>) -> Result<T, String> {
    converted.map_err(|error| format!("{}:{error}", file.display()))
}

/// The text of a file; of `-`, standard input.
fn source(path: &Path) -> Result<String, String> {
    if path.as_os_str() != "-" {
        return files::text(path);
    }
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).map_err(|error| format!("standard input: {error}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The text without the lines that the module would refuse: they become comments that say why.
fn taken(mut text: String) -> String {
    let number = |error: &str| error.strip_prefix("line ")?.split(' ').next()?.parse::<usize>().ok();
    while let Err(error) = read::read_text(&text) {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let at = number(&error).and_then(|number| lines.get_mut(number - 1));
        // A section cannot be taken out alone; and no line is taken out twice.
        let Some(line) = at.filter(|line| !line.trim().starts_with(['<', '#'])) else {
            lines.insert(0, commented(&format!("the module refuses this: {error}")));
            return lines.join("\n");
        };
        let why = error.split_once(": ").map_or(error.as_str(), |(_, why)| why);
        let indent: String = line.chars().take_while(|letter| *letter == ' ').collect();
        *line = format!("{indent}{}", commented(&format!("{}: {why}", line.trim())));
        text = lines.join("\n");
    }
    text
}

fn text(converted: &Converted) -> String {
    let mut parts: Vec<String> = converted.pools.iter().map(PoolBlock::text).collect();
    if parts.is_empty() {
        parts.push("# no pool was found".into());
    }
    if !converted.lines.is_empty() {
        parts.push(converted.lines.join("\n"));
    }
    parts.join("\n\n")
}
