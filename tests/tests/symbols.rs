// SPDX-License-Identifier: Apache-2.0
//! The symbols that the shared object gives to httpd and takes from it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use server_tests::httpd::installed;
use server_tests::module::shared_object;

fn output_of(program: &str, arguments: &[&str], file: &Path) -> String {
    let output = Command::new(program).args(arguments).arg(file).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Names of a dynamic symbol table without versions.
fn symbols(file: &Path, which: &str) -> BTreeSet<String> {
    let listing = output_of("nm", &["-D", which], file);
    let names = listing.lines().filter_map(|line| line.split_whitespace().last());
    names.map(|name| name.split('@').next().unwrap_or(name).to_owned()).collect()
}

#[test]
fn the_module_record_is_the_only_export() {
    let exported = symbols(shared_object(), "--defined-only");
    assert_eq!(exported, BTreeSet::from(["lua_balancer_module".to_owned()]));
}

#[test]
fn every_symbol_of_httpd_that_it_needs_exists_without_mod_proxy() {
    let needed = symbols(shared_object(), "--undefined-only");
    let mut offered = symbols(&installed().program, "--defined-only");
    for line in output_of("ldd", &[], &installed().program).lines().filter(|line| line.contains("libapr")) {
        let path = line.split_whitespace().nth(2).expect("a library's path");
        offered.extend(symbols(Path::new(path), "--defined-only"));
    }
    let of_httpd = needed.iter().filter(|name| name.starts_with("ap_") || name.starts_with("apr_"));
    let missing: Vec<_> = of_httpd.filter(|name| !offered.contains(*name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(offered.len() > 500, "only {} symbols found in httpd", offered.len());
}
