// SPDX-License-Identifier: Apache-2.0
//! The configurations in the documents are taken by httpd as they stand, and those of other
//! balancers become what the documents say.

use std::fs;
use std::path::Path;

use server_tests::certificate::signed;
use server_tests::ports::ReservedPort;
use server_tests::{Httpd, lbctl_command};

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The fenced blocks of a document, each with its language.
fn blocks(document: &str) -> Vec<(&str, &str)> {
    let fenced = document.split("\n```").skip(1).step_by(2);
    fenced.filter_map(|block| block.split_once('\n')).collect()
}

#[test]
fn each_configuration_of_the_migration_guide_passes_configtest() {
    let guide = document("migrating.md");
    let found: Vec<_> = blocks(&guide).into_iter().filter(|(language, _)| *language == "apache").collect();
    assert_eq!(found.len(), 4, "configurations in the guide");
    for (_, block) in found {
        let stock = ["slotmem_shm", "proxy_balancer", "lbmethod_bybusyness"];
        let builder = stock.into_iter().fold(Httpd::builder(), |builder, module| builder.module(module));
        let result = builder.config(block).configtest();
        assert!(result.ok, "{block}\n{}", result.output);
    }
}

#[test]
fn each_source_of_members_in_its_document_passes_configtest() {
    let guide = document("discovery.md");
    let found: Vec<_> = blocks(&guide).into_iter().filter(|(language, _)| *language == "apache").collect();
    assert!(found.len() >= 7, "{} configurations in the document", found.len());
    let (_, script) =
        *blocks(&guide).iter().find(|(_, text)| text.contains("function discover")).expect("a script");
    for (_, block) in found {
        let builder = Httpd::builder().file("token", "t\n").file("consul-token", "t\n");
        let builder = builder.file("discover.lua", script);
        signed(builder.dir());
        let own = block.replace("/etc/lb/", &format!("{}/", builder.dir().display()));
        let result = builder.config(&own).configtest();
        assert!(result.ok, "{block}\n{}", result.output);
    }
}

#[test]
fn the_example_of_each_directive_passes_configtest() {
    let reference = document("directives.md");
    let found: Vec<_> =
        blocks(&reference).into_iter().filter(|(language, _)| *language == "apache").collect();
    let directives = reference.matches("\n### `Lua").count() + reference.matches("\n### `<Lua").count();
    assert_eq!(found.len(), directives, "one example a directive");
    let script =
        "local function nobody() end\ntranslate, select, finish, adjust = nobody, nobody, nobody, nobody";
    let city = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/geo/tests/data/GeoIP2-City-Test.mmdb");
    let city = fs::read(city).expect("a test database");
    for (_, block) in found {
        let names = ["lua/balancer.lua", "lua/next.lua", "lua/weights.lua"];
        let builder = names.into_iter().fold(Httpd::builder(), |builder, name| builder.file(name, script));
        fs::write(builder.dir().join("GeoLite2-City.mmdb"), &city).expect("write the database");
        let own = block.replace("/var/lib/GeoIP/", &format!("{}/", builder.dir().display()));
        let result = builder.config(&own).configtest();
        assert!(result.ok, "{block}\n{}", result.output);
    }
}

#[test]
fn the_site_of_the_compose_file_passes_configtest() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docker/compose/site.conf");
    let site = fs::read_to_string(path).expect("the site");
    // The metrics are asked at a port of the container's own.
    let site = site.replace("0.0.0.0:9117", &format!("127.0.0.1:{}", ReservedPort::new().port()));
    let result = Httpd::builder().config(&site).configtest();
    assert!(result.ok, "{}", result.output);
}

#[test]
fn lbctl_converts_the_migration_guides_examples_into_its_results() {
    let guide = document("migrating.md");
    let found = blocks(&guide);
    for (index, (language, before)) in found.iter().enumerate() {
        if !["nginx", "haproxy"].contains(language) {
            continue;
        }
        let file = std::env::temp_dir().join(format!("lua-balancer-guide-{}-{language}", std::process::id()));
        fs::write(&file, before).expect("a configuration");
        let output = lbctl_command(&["convert", language]).arg(&file).output().expect("run lbctl");
        let _ = fs::remove_file(&file);
        let written = String::from_utf8_lossy(&output.stdout);
        let is_code = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
        let written: Vec<_> = written.lines().filter(is_code).collect();
        let after: Vec<_> = found[index + 1].1.lines().filter(is_code).collect();
        assert_eq!(written, after, "{language}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
