// SPDX-License-Identifier: Apache-2.0
//! Replaced files are taken, broken ones are not.
#![allow(missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use geo::{Database, DatabaseFile, Databases, Refresh, Stamp};

/// A folder of its own that goes with the value, with one database in it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("lb-geo-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
    fn file(&self) -> PathBuf {
        self.0.join("city.mmdb")
    }
    fn replace(&self, bytes: &[u8]) {
        fs::write(self.0.join("new"), bytes).unwrap();
        fs::rename(self.0.join("new"), self.file()).unwrap();
    }
    fn open(&self) -> Databases {
        let database = Database::read(&self.file()).unwrap().expect("a file at rest");
        let seen = Some(database.stamp());
        Databases::new(vec![DatabaseFile { path: self.file(), database: Some(database), seen }])
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn test_file(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)).unwrap()
}

fn city() -> Vec<u8> {
    test_file("GeoIP2-City-Test.mmdb")
}

/// The same database with China's code being another one.
fn relabelled(code: &[u8; 2]) -> Vec<u8> {
    let mut bytes = city();
    for at in 0..bytes.len() - 3 {
        if &bytes[at..at + 3] == b"\x42CN" {
            bytes[at + 1..at + 3].copy_from_slice(code);
        }
    }
    bytes
}

fn country(databases: &Databases) -> String {
    let found = databases.lookup("175.16.199.1".parse().unwrap(), &mut |problem| panic!("{problem}"));
    found.unwrap().unwrap().country.unwrap()
}

/// The findings of two turns of the watcher.
fn turns(databases: &Databases) -> Vec<Refresh> {
    let mut changes = databases.refresh();
    changes.extend(databases.refresh());
    changes
}

#[test]
fn an_unchanged_file_is_left_alone() {
    let folder = Folder::new();
    folder.replace(&city());
    let databases = folder.open();
    assert!(turns(&databases).is_empty());
}

#[test]
fn a_replaced_file_is_taken_when_it_was_seen_twice() {
    let folder = Folder::new();
    folder.replace(&city());
    let databases = folder.open();
    assert_eq!(country(&databases), "CN");
    folder.replace(&relabelled(b"XA"));
    assert!(databases.refresh().is_empty());
    assert_eq!(country(&databases), "CN");
    folder.replace(&relabelled(b"XB"));
    assert!(databases.refresh().is_empty(), "it has changed again");
    let changes = databases.refresh();
    assert!(
        matches!(&changes[..], [Refresh::Taken(path, kind)] if *path == folder.file() && kind == "GeoIP2-City")
    );
    assert_eq!(country(&databases), "XB");
    assert!(turns(&databases).is_empty());
}

#[test]
fn a_file_overwritten_in_place_is_taken() {
    let folder = Folder::new();
    folder.replace(&city());
    let databases = folder.open();
    fs::write(folder.file(), relabelled(b"XA")).unwrap();
    assert!(matches!(&turns(&databases)[..], [Refresh::Taken(..)]));
    assert_eq!(country(&databases), "XA");
}

#[test]
fn a_broken_file_is_refused_once_and_tried_again_when_it_changes() {
    let folder = Folder::new();
    folder.replace(&city());
    let databases = folder.open();
    let whole = city();
    for broken in [&whole[..whole.len() / 2], b"", b"not a database"] {
        folder.replace(broken);
        let changes = turns(&databases);
        assert!(
            matches!(&changes[..], [Refresh::Refused(problem)] if problem.path == folder.file()),
            "{changes:?}"
        );
        assert!(turns(&databases).is_empty(), "it is refused once");
        assert_eq!(country(&databases), "CN");
    }
    folder.replace(&relabelled(b"XA"));
    assert!(matches!(&turns(&databases)[..], [Refresh::Taken(..)]));
    assert_eq!(country(&databases), "XA");
}

#[test]
fn a_database_of_another_type_is_not_taken() {
    let folder = Folder::new();
    folder.replace(&city());
    let databases = folder.open();
    folder.replace(&test_file("GeoLite2-ASN-Test.mmdb"));
    let changes = turns(&databases);
    let [Refresh::Refused(problem)] = &changes[..] else { panic!("{changes:?}") };
    assert!(problem.what.contains("is of type GeoLite2-ASN; expected GeoIP2-City"), "{problem}");
    assert_eq!(country(&databases), "CN");
    folder.replace(&relabelled(b"XA"));
    assert!(matches!(&turns(&databases)[..], [Refresh::Taken(..)]));
}

/// The city database with one record broken that no sample of addresses meets.
fn broken_in_one_place() -> Vec<u8> {
    let (mut bytes, name) = (city(), b"Link\xc3\xb6ping");
    let at = bytes.windows(name.len()).position(|part| part == name).expect("a city's name");
    bytes[at + 4] = 0xff;
    bytes
}

#[test]
fn a_database_that_breaks_in_one_place_is_not_taken() {
    let folder = Folder::new();
    folder.replace(&city());
    let databases = folder.open();
    folder.replace(&broken_in_one_place());
    assert!(Database::read(&folder.file()).unwrap().is_some(), "a sample of addresses does not meet it");
    let changes = turns(&databases);
    assert!(
        matches!(&changes[..], [Refresh::Refused(problem)] if problem.what.contains("is damaged behind")),
        "{changes:?}"
    );
    assert_eq!(country(&databases), "CN");
}

#[test]
fn reading_is_left_to_somebody_else_and_goes_on_where_it_was() {
    let folder = Folder::new();
    folder.replace(&city());
    let databases = folder.open();
    folder.replace(&relabelled(b"XA"));
    let mut jobs = Vec::new();
    let mut later = |job| {
        jobs.push(job);
        true
    };
    for _ in 0..4 {
        assert!(databases.refresh_by(&mut later).is_empty());
    }
    assert_eq!(jobs.len(), 1, "it is read once");
    assert_eq!(country(&databases), "CN");
    jobs.remove(0)(&|| true);
    assert!(matches!(&databases.refresh()[..], [Refresh::Taken(..)]));
    assert_eq!(country(&databases), "XA");
    // A reader may end without a word, or may not begin.
    folder.replace(&relabelled(b"XB"));
    assert!(databases.refresh_by(&mut |_| false).is_empty());
    assert!(databases.refresh_by(&mut |_| false).is_empty());
    assert!(databases.refresh_by(&mut |_| true).is_empty());
    assert!(matches!(&turns(&databases)[..], [Refresh::Taken(..)]));
    assert_eq!(country(&databases), "XB");
}

#[test]
fn a_removed_file_goes_on_serving() {
    let folder = Folder::new();
    folder.replace(&city());
    let databases = folder.open();
    fs::remove_file(folder.file()).unwrap();
    assert!(matches!(&turns(&databases)[..], [Refresh::Gone(path)] if *path == folder.file()));
    assert!(turns(&databases).is_empty());
    assert_eq!(country(&databases), "CN");
    folder.replace(&relabelled(b"XA"));
    assert!(matches!(&turns(&databases)[..], [Refresh::Taken(..)]));
    assert_eq!(country(&databases), "XA");
}

#[test]
fn a_file_that_could_not_be_read_at_first_is_taken_later() {
    let folder = Folder::new();
    let databases = Databases::new(vec![DatabaseFile { path: folder.file(), database: None, seen: None }]);
    let address = "175.16.199.1".parse().unwrap();
    let error = databases.lookup(address, &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("city.mmdb"), "{error}");
    assert!(turns(&databases).is_empty(), "whoever opened it has told");
    folder.replace(&city());
    assert!(matches!(&turns(&databases)[..], [Refresh::Taken(..)]));
    assert_eq!(country(&databases), "CN");
}

#[test]
fn a_file_that_was_refused_before_is_not_told_again() {
    let folder = Folder::new();
    folder.replace(&city());
    let database = Database::read(&folder.file()).unwrap();
    folder.replace(b"broken");
    let seen = Stamp::of(&folder.file());
    let databases = Databases::new(vec![DatabaseFile { path: folder.file(), database, seen }]);
    assert!(turns(&databases).is_empty());
    assert_eq!(country(&databases), "CN");
}
