// SPDX-License-Identifier: Apache-2.0
use super::*;
use balance::url::MemberUrl;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

const RULES: ListingRules = ListingRules { skip_invalid: false, max: 1000, misfit: |_| None };
const SETTLE: Duration = Duration::from_millis(200);

#[test]
fn a_file_that_never_rests_is_told_of_and_read_when_it_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.txt");
    let (mut source, began) = (FileSource::new(path.clone(), RULES, SETTLE), Instant::now());
    let mut text = String::new();
    for (at_s, is_told) in [(0, false), (5, false), (11, true)] {
        text += &format!("http://a{at_s}:1\n");
        fs::write(&path, &text).expect("written");
        match source.look(true, began + Duration::from_secs(at_s)) {
            FileLook::Unsure => assert!(!is_told),
            FileLook::Failed(why) => {
                assert!(is_told && why.starts_with("it has been changing for 10 s"), "{why}")
            }
            FileLook::List(list, _) => panic!("a part of a list: {list:?}"),
        }
    }
    let found = source.look(true, began + Duration::from_secs(12));
    assert!(matches!(found, FileLook::List(list, true) if list.members.len() == 3));
}

#[test]
fn a_text_is_taken_apart_once_even_where_it_is_wrong() {
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    let count = |_: &MemberUrl| {
        SEEN.fetch_add(1, Ordering::SeqCst);
        None
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.txt");
    fs::write(&path, "http://a:1\nwrong\n").expect("written");
    let rules = ListingRules { misfit: count, ..RULES };
    let mut source = FileSource::new(path, rules, Duration::ZERO);
    let began = Instant::now();
    let looks = (0..5).map(|at| source.look(true, began + Duration::from_secs(at)));
    let failures = looks.filter(|look| matches!(look, FileLook::Failed(why) if why.starts_with("line 2")));
    assert_eq!((failures.count(), SEEN.load(Ordering::SeqCst)), (4, 1));
}
