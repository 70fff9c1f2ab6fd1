// SPDX-License-Identifier: Apache-2.0
//! The answers of databases, and that damaged ones answer nothing worse than an error.
#![allow(missing_docs)]

use std::borrow::Cow;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use geo::{Database, DatabaseFile, Databases, Location, Stamp};
use proptest::prelude::*;

const CITY: &str = "GeoIP2-City-Test.mmdb";
const ASN: &str = "GeoLite2-ASN-Test.mmdb";
const BROKEN_POINTERS: &str = "MaxMind-DB-test-broken-pointers-24.mmdb";
const INVALID_NODE_COUNT: &str = "GeoIP2-City-Test-Invalid-Node-Count.mmdb";

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn open(names: &[&str]) -> Databases {
    let read = |name: &&str| {
        let database = read(name);
        DatabaseFile { path: data(name), seen: Some(database.stamp()), database: Some(database) }
    };
    Databases::new(names.iter().map(read).collect())
}

fn read(name: &str) -> Database {
    Database::read(&data(name)).unwrap().expect("a file at rest")
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn place(databases: &Databases, address: &str) -> Option<Location> {
    databases.lookup(ip(address), &mut |problem| panic!("{problem}")).unwrap()
}

fn country(databases: &Databases, address: &str) -> Option<String> {
    place(databases, address).and_then(|place| place.country)
}

#[test]
fn a_city_database_tells_all_it_knows() {
    let text = |text: &str| Some(text.to_owned());
    let expected = Location {
        country: text("CN"),
        country_name: text("China"),
        continent: text("AS"),
        city: text("Changchun"),
        latitude: Some(43.88),
        longitude: Some(125.3228),
        time_zone: text("Asia/Harbin"),
        asn: None,
        org: None,
    };
    assert_eq!(place(&open(&[CITY]), "175.16.199.1"), Some(expected));
}

#[test]
fn several_databases_are_one_answer_in_any_order() {
    for names in [[CITY, ASN], [ASN, CITY]] {
        let databases = open(&names);
        let found = place(&databases, "89.160.20.112").unwrap();
        assert_eq!((found.city.as_deref(), found.asn), (Some("Linköping"), Some(29518)));
        assert_eq!(found.org.as_deref(), Some("Bredband2 AB"));
        let network_only = place(&databases, "1.128.0.1").unwrap();
        assert_eq!((network_only.country, network_only.asn), (None, Some(1221)));
    }
}

#[test]
fn ipv6_and_ipv4_in_ipv6_form_are_found() {
    let databases = open(&[CITY]);
    assert_eq!(country(&databases, "2001:218::1").as_deref(), Some("JP"));
    assert_eq!(country(&databases, "::ffff:216.160.83.56").as_deref(), Some("US"));
}

#[test]
fn private_and_unknown_addresses_are_nowhere() {
    let databases = open(&[CITY, ASN]);
    for address in ["127.0.0.1", "10.0.0.1", "192.168.1.1", "::1", "fe80::1", "0.0.0.0", "255.255.255.255"] {
        assert_eq!(place(&databases, address), None, "{address}");
    }
}

#[test]
fn an_ipv4_database_knows_no_ipv6_address() {
    assert_eq!(place(&open(&[BROKEN_POINTERS, CITY]), "2001:218::1").unwrap().country.as_deref(), Some("JP"));
}

#[test]
fn a_failing_look_up_is_told_once_and_hides_no_other_database() {
    let databases = open(&[BROKEN_POINTERS, CITY]);
    let mut told = Vec::new();
    for _ in 0..3 {
        let found = databases.lookup(ip("1.1.1.16"), &mut |problem| told.push(problem.to_string())).unwrap();
        assert_eq!(found, None);
    }
    let [line] = &told[..] else { panic!("{told:?}") };
    assert!(
        line.contains(BROKEN_POINTERS) && line.contains("damaged") && line.contains("1.1.1.16"),
        "{line}"
    );
    assert_eq!(country(&databases, "175.16.199.1").as_deref(), Some("CN"));
}

#[test]
fn a_file_that_is_not_a_whole_database_is_refused_with_the_reason() {
    let refused = |path: &Path| match Database::read(path) {
        Ok(database) => panic!("{database:?} is taken"),
        Err(problem) => problem.to_string(),
    };
    let line = refused(&data(INVALID_NODE_COUNT));
    assert!(line.contains("not a whole MaxMind database") && line.contains("search tree"), "{line}");
    let line = refused(&data("README.md"));
    assert!(line.contains("README.md") && line.contains("not a whole MaxMind database"), "{line}");
    assert!(refused(&data("missing.mmdb")).contains("expected a MaxMind database"));
    assert!(refused(&data("")).contains("not a regular file"));
    assert!(refused(Path::new("/dev/zero")).contains("not a regular file"));
    let whole = std::fs::read(data(CITY)).unwrap();
    for length in [0, 1, whole.len() / 2, whole.len() - 200, whole.len() - 1] {
        let cut = whole[..length].to_vec();
        assert!(Database::from_bytes(&data(CITY), stamp(), Cow::Owned(cut)).is_err(), "{length} bytes");
    }
}

#[test]
fn damage_at_large_is_found_before_a_database_is_taken() {
    let mut bytes = std::fs::read(data(CITY)).unwrap();
    // Its end is as it was: a file that is being written over.
    bytes[..1000].fill(0xff);
    let problem = Database::from_bytes(&data(CITY), stamp(), bytes.into()).unwrap_err().to_string();
    assert!(problem.contains("is damaged"), "{problem}");
}

fn stamp() -> Stamp {
    read(CITY).stamp()
}

fn known() -> &'static (Vec<u8>, Stamp) {
    static KNOWN: OnceLock<(Vec<u8>, Stamp)> = OnceLock::new();
    KNOWN.get_or_init(|| (std::fs::read(data(CITY)).unwrap(), stamp()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn damage_is_never_worse_than_an_error(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
        tail in any::<bool>(),
        addresses in prop::collection::vec(any::<u128>(), 20),
    ) {
        let (whole, stamp) = known();
        let mut bytes = whole.clone();
        let start = if tail { bytes.len() - 400 } else { 0 };
        for (at, value) in damage {
            let length = bytes.len() - start;
            bytes[start + at.index(length)] = value;
        }
        if let Ok(database) = Database::from_bytes(&data(CITY), *stamp, bytes.into()) {
            for bits in addresses {
                let _ = database.lookup(IpAddr::from(bits.to_be_bytes()));
                let _ = database.lookup(IpAddr::from((bits as u32).to_be_bytes()));
            }
            for address in ["175.16.199.1", "216.160.83.56", "81.2.69.142", "2001:218::1"] {
                let _ = database.lookup(ip(address));
            }
        }
    }
}
