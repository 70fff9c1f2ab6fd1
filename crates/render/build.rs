// SPDX-License-Identifier: Apache-2.0
//! Puts the page's script together, without what only readers of its source need.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

/// In the order in which they stand in the page's script.
const PARTS: [&str; 8] = ["core", "data", "pictures", "pools", "select", "change", "dialog", "tabs"];
/// The last one begins.
const LAST: &str = "main";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=page");
    let mut script = String::from("(()=>{\"use strict\";\n");
    for part in PARTS.into_iter().chain([LAST]) {
        script.push_str(&fs::read_to_string(format!("page/{part}.js"))?);
    }
    script.push_str("})();\n");
    // The last statement of a block needs no semicolon.
    let small = minifier::js::minify(&script).to_string().replace(";}", "}");
    fs::write(Path::new(&env::var("OUT_DIR")?).join("page.js"), small)?;
    Ok(())
}
