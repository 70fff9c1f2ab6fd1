// SPDX-License-Identifier: Apache-2.0
//! The files of docker/compose.yaml name each other rightly, and Prometheus reads its own. No
//! container is started; `scripts/test-image` starts the image with this site.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;

fn docker(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docker").join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(docker(path)).unwrap_or_else(|error| panic!("docker/{path}: {error}"))
}

/// All that a pattern's first group finds.
fn all(pattern: &str, text: &str) -> Vec<String> {
    let pattern = Regex::new(pattern).expect("a pattern");
    pattern.captures_iter(text).map(|found| found[1].to_owned()).collect()
}

fn one(pattern: &str, text: &str) -> String {
    let found = all(pattern, text);
    assert_eq!(found.len(), 1, "{pattern}: {found:?} in\n{text}");
    found[0].clone()
}

/// Each service's lines.
fn services() -> BTreeMap<String, String> {
    let file = read("compose.yaml");
    let (_, rest) = file.split_once("\nservices:\n").expect("services");
    let body = rest.split("\nvolumes:\n").next().expect("their lines");
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let mut name = String::new();
    for line in body.lines() {
        if !line.starts_with("   ") {
            name = line.trim_start().split(':').next().expect("a name").to_owned();
        }
        let lines = found.entry(name.clone()).or_default();
        lines.push_str(line);
        lines.push('\n');
    }
    found
}

/// Where a service sees the files of this tree: the place there, and the one here.
fn mounts(service: &str) -> Vec<(String, PathBuf)> {
    let pattern = Regex::new(r"- (\.\.?/[^:\n]+):([^:\n]+):ro\n").expect("a pattern");
    let lines = &services()[service];
    pattern.captures_iter(lines).map(|found| (found[2].to_owned(), docker(&found[1]))).collect()
}

/// The port that a service publishes at the machine, and the one within it that answers there.
fn published(service: &str) -> String {
    one(r#"ports: \["127\.0\.0\.1:\d+:(\d+)"\]"#, &services()[service])
}

#[test]
fn every_file_that_a_service_mounts_is_there() {
    let found: Vec<_> = services().keys().flat_map(|service| mounts(service)).collect();
    for (place, file) in &found {
        assert!(file.exists(), "{} is not there, for {place}", file.display());
    }
    assert_eq!(found.len(), 6, "{found:?}");
    assert!(docker("..").join(one("dockerfile: (.*)", &services()["front"])).exists());
}

#[test]
fn prometheus_reads_its_configuration_with_the_rules_where_they_are_mounted() {
    let config = read("compose/prometheus.yml");
    let (place, rules) = mounts("prometheus").pop().expect("the folder of rules");
    assert_eq!(config.matches(&place).count(), 2, "{config}");
    let here = rules.canonicalize().expect("the folder");
    let folder = std::env::temp_dir().join(format!("lua-balancer-compose-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("prometheus.yml");
    std::fs::write(&file, config.replace(&place, &here.display().to_string())).expect("written");
    let mut promtool = Command::new("promtool");
    let said = promtool.args(["check", "config"]).arg(&file).output().expect("promtool (scripts/deps test)");
    std::fs::remove_dir_all(&folder).expect("gone");
    let text = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success() && text.contains("2 rule files found"), "{text}");
}

#[test]
fn every_name_and_port_is_one_of_the_services() {
    let (services, site) = (services(), read("compose/site.conf"));
    for member in all(r"LuaBalancerMember http://([a-z]+):80 ", &site) {
        assert!(
            services[&member].contains("httpd:2.4") || services[&member].contains("*backend"),
            "{member}"
        );
    }
    assert_eq!(published("front"), one(r"<VirtualHost \*:(\d+)>", &site));
    let metrics = one(r"LuaBalancerMetrics listen=0\.0\.0\.0:(\d+)", &site);
    assert_eq!(one("targets: (.*)", &read("compose/prometheus.yml")), format!("[\"front:{metrics}\"]"));
    let source = one("url: (.*)", &read("compose/datasource.yml"));
    assert_eq!(source, format!("http://prometheus:{}", published("prometheus")));
    let boards = one("path: (.*)", &read("compose/dashboards.yml"));
    let (_, here) = mounts("grafana").into_iter().find(|mount| mount.0 == boards).expect("the dashboards");
    assert!(here.join("lua_balancer.json").exists());
}
