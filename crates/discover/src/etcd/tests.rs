// SPDX-License-Identifier: Apache-2.0

use super::*;

fn read(keys: &[(&str, &str)], skip_invalid: bool) -> Result<Listed, String> {
    let rules = ListingRules { skip_invalid, max: 2, misfit: |_| None };
    let keys = keys.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    listing::read_keys(keys, rules, &mut KnownEntries::default()).map_err(|problem| problem.to_string())
}

#[test]
fn a_member_has_the_name_of_its_key() {
    let listed = read(
        &[
            ("a", r#"{"url":"http://10.0.0.1:80","weight":3}"#),
            ("eu/b", r#"{"url":"http://h:1","name":"b"}"#),
        ],
        false,
    );
    let members = listed.expect("two members").members;
    let members: Vec<_> = members.iter().map(|member| (member.name.as_str(), member.weight)).collect();
    assert_eq!(members, [("a", 300), ("b", 100)]);
}

#[test]
fn a_key_that_holds_no_member_is_named() {
    let good = r#"{"url":"http://h:1"}"#;
    for (keys, says) in [
        (&[("a", "")][..], "key a: it is not JSON: EOF"),
        (&[("a", "{}")], "key a: url: found nothing"),
        (&[("a", "[]")], "key a: found a list, expected an object with url"),
        (
            &[("a", r#"{"url":"http://h:1","name":"b"}"#)],
            "key a: its name is \"b\", expected a as the key has it",
        ),
        (&[("x/", good)], "key x/: "),
        (&[("eu/a", good), ("us/a", good)], "key us/a: another entry is named a as well"),
        (&[("a", good), ("b", good), ("c", good)], "at most 2"),
        (&[("a\n", good)], "key a?: "),
    ] {
        let said = read(keys, false).expect_err(says);
        assert!(
            said.starts_with(says) || said.contains("at most 2") && says == "at most 2",
            "{said} / {says}"
        );
    }
    let listed = read(&[("a", good), ("b", "{")], true).expect("the good ones");
    assert_eq!((listed.members.len(), listed.skipped), (1, 1));
}

#[test]
fn a_value_of_too_many_parts_is_refused_before_it_is_held() {
    let value = format!("[{}0]", "0,".repeat(20_000));
    let said = read(&[("a", &value)], false).expect_err("too many parts");
    assert!(said.starts_with("key a: it has more parts"), "{said}");
}
