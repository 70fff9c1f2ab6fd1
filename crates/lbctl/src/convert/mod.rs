// SPDX-License-Identifier: Apache-2.0
//! `lbctl convert`: configurations of others as pools. Lines without a counterpart become comments.

mod balancer;
mod haproxy;
mod nginx;
mod pool;

use std::io::Read as _;
use std::path::Path;

use self::pool::{Converted, PoolBlock};
use crate::args::{ConvertArgs, ConvertFrom};
use crate::files;
use crate::out::{Exit, Failure, Form, Out, VerbResult};

/// Runs the verb.
pub fn run(out: &Out, args: &ConvertArgs) -> VerbResult {
    let converted = match args.from {
        ConvertFrom::Balancer => balancer::convert(&args.file),
        ConvertFrom::Nginx => read(&args.file).and_then(|text| nginx::convert(&text)),
        ConvertFrom::Haproxy => read(&args.file).map(|text| haproxy::convert(&text)),
    };
    let converted = converted.map_err(Failure::usage)?;
    let text = text(&converted);
    if out.form == Form::Json {
        let comments: Vec<&str> =
            text.lines().map(str::trim).filter_map(|line| line.strip_prefix("# ")).collect();
        out.json(&serde_json::json!({ "configuration": text, "comments": comments }))?;
    } else {
        out.line(text.trim_end())?;
    }
    Ok(if converted.pools.is_empty() { Exit::No } else { Exit::Done })
}

/// The text of a file; of `-`, standard input.
fn read(path: &Path) -> Result<String, String> {
    if path.as_os_str() != "-" {
        return files::text(path);
    }
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).map_err(|error| format!("standard input: {error}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
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
