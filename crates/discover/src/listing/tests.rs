// SPDX-License-Identifier: Apache-2.0
use super::*;
use proptest::prelude::*;

const RULES: ListingRules = ListingRules { skip_invalid: false, max: 1000, misfit: |_| None };

fn lines(text: &str) -> Result<Vec<String>, String> {
    let listed = read(text.as_bytes(), RULES).map_err(|problem| problem.to_string())?;
    Ok(listed.members.iter().map(|spec| spec.to_line()).collect())
}

#[test]
fn the_shapes_say_the_same() {
    let expected = ["http://10.0.0.1:8080 weight=2 zone=eu meta.version=7", "http://10.0.0.2:8080"];
    for text in [
        r#"[{"targets":["10.0.0.1:8080"],"labels":{"zone":"eu","weight":"2","version":"7"}},
            {"targets":["10.0.0.2:8080"]}]"#,
        r#"{"members":[{"url":"http://10.0.0.1:8080","weight":2,"zone":"eu","meta":{"version":"7"}},
            {"url":"http://10.0.0.2:8080"}]}"#,
        r#"[{"url":"http://10.0.0.1:8080","weight":2,"zone":"eu","meta":{"version":"7"},"state":"up"},
            {"url":"http://10.0.0.2:8080"}]"#,
        "# members\r\nhttp://10.0.0.1:8080 weight=2 zone=eu meta.version=7\r\n\r\n  http://10.0.0.2:8080\n",
        "\u{feff}http://10.0.0.1:8080 weight=2 zone=eu meta.version=7\nhttp://10.0.0.2:8080",
    ] {
        assert_eq!(lines(text), Ok(expected.map(str::to_owned).to_vec()), "{text}");
    }
}

#[test]
fn labels_are_keys_or_meta_keys() {
    let text = r#"[{"targets":["a:1"],"labels":{"__scheme__":"https","name":"x","route":"r1","lbset":"2","job":"web"}}]"#;
    assert_eq!(lines(text), Ok(vec!["https://a:1 name=x route=r1 lbset=2 meta.job=web".to_owned()]));
    assert_eq!(lines(r#"[{"targets":["[::1]:81"]}]"#), Ok(vec!["http://[::1]:81".to_owned()]));
}

#[test]
fn lists_without_members_are_lists() {
    for text in ["[]", r#"{"members":[]}"#, r#"[{"targets":[]}]"#] {
        assert_eq!(lines(text), Ok(Vec::new()), "{text}");
    }
}

#[test]
fn wrong_lists_are_refused_with_the_place() {
    for (text, says) in [
        ("", "it is empty: expected a list"),
        (" \n\n", "it is empty"),
        ("# nobody today\n", "it is empty: expected a list; one without members is written as []"),
        ("[", "it is not JSON: EOF while parsing a list at line 1 column 1"),
        (r#"[{"targets":["10.0.0.1:80"#, "it is not JSON: EOF"),
        ("[] x", "it is not JSON: trailing characters"),
        (r#"{"member":[]}"#, "the object: found an object without them, expected a list of groups"),
        (r#"{"members":[],"x":1}"#, "the object: found the key x"),
        (r#"{"members":{}}"#, "members: invalid type: map, expected a list at line 1"),
        (r#"{"members":[],"members":[]}"#, "the object: found the key members"),
        ("[1]", "[0]: found a number, expected an object with url or targets"),
        (r#"[{"targets":"a:1"}]"#, "[0].targets: found a text, expected a list of host:port"),
        (r#"[{"targets":[],"label":{}}]"#, "[0]: found the key label, expected targets and labels alone"),
        (
            r#"[{"targets":["a:1"],"labels":{"weight":2}}]"#,
            "[0].labels.weight: found a number, expected a text",
        ),
        (
            r#"[{"targets":["a:1"],"labels":{"weight":"x"}}]"#,
            "[0].targets[0] (\"a:1\"): weight=x: expected 0 to 65535",
        ),
        (r#"[{"targets":["a:1",2]}]"#, "[0].targets[1] (2): found a number, expected host:port"),
        (r#"[{"targets":["a:99999"]}]"#, "[0].targets[0] (\"a:99999\"): URL http://a:99999"),
        (r#"[{"targets":["a:1","b:1"],"labels":{"name":"x"}}]"#, "another entry is named x as well"),
        (r#"[{"targets":["a:1"],"labels":{"a b":"x"}}]"#, "meta.KEY of letters"),
        (r#"{"members":[{"url":"http://a:1"},{"weight":1}]}"#, "members[1]: url: found nothing"),
        (
            r#"{"members":[{"url":"http://a:1","colour":1}]}"#,
            "members[0]: colour: found a key that is not known here",
        ),
        ("http://a:1\nhttp://b:1 weight=x\n", "line 2: weight=x: expected 0 to 65535"),
        ("http://a:1\nhttp://a:1\n", "line 2: http://a:1 is there twice"),
        ("http://a:1 discovered=x", "line 1: unknown key discovered"),
        ("a:1\n", "line 1: URL a:1"),
        ("http://a:1 name=\"x", "line 1: "),
    ] {
        let said = lines(text).expect_err(text);
        assert!(said.contains(says), "{said:?} should say {says:?}");
    }
    let said = read(b"\xff", RULES).expect_err("no text").to_string();
    assert_eq!(said, "it is not UTF-8 text (byte 0)");
}

#[test]
fn wrong_entries_are_skipped_where_that_is_wanted() {
    let rules = ListingRules { skip_invalid: true, ..RULES };
    let text = "http://a:1\nhttp://b:1 weight=x\nhttp://a:1\nhttp://c:1\n";
    let listed = read(text.as_bytes(), rules).expect("a list");
    let names: Vec<&str> = listed.members.iter().map(|spec| spec.name.as_str()).collect();
    assert_eq!((names.as_slice(), listed.skipped), (&["a:1", "c:1"][..], 2));
    assert!(listed.first_skipped.starts_with("line 2: weight=x"), "{}", listed.first_skipped);
    assert!(read(b"[", rules).is_err(), "no part of a list is a list");
}

#[test]
fn an_error_of_a_list_is_short_and_quotes_no_value_of_another_type() {
    let long = "x".repeat(1 << 20);
    let texts = [
        r#"{"members":"hunter2-secret"}"#.to_owned(),
        r#"{"members":"hunter2, expected"}"#.to_owned(),
        format!(r#"{{"members":"{long}"}}"#),
        format!(r#"[{{"url":"http://a:1","weight":"{long}"}}]"#),
        format!("http://a:1 weight={long}\n"),
        format!("http://{long}\n"),
    ];
    for text in texts {
        let said = read(text.as_bytes(), RULES).expect_err("no list").to_string();
        assert!(!said.contains("hunter2") && said.len() < 400, "{said}");
    }
}

#[test]
fn too_many_members_are_refused() {
    let text: String = (0..4).map(|host| format!("http://h{host}:1\n")).collect();
    assert!(read(text.as_bytes(), ListingRules { max: 4, ..RULES }).is_ok());
    for skip_invalid in [false, true] {
        let said =
            read(text.as_bytes(), ListingRules { max: 3, skip_invalid, ..RULES }).expect_err("too many");
        assert_eq!(said, ListProblem::TooMany { found: 4, most: 3 });
    }
}

#[test]
fn a_text_of_wrong_entries_is_refused_before_it_is_read_to_its_end() {
    let rules = ListingRules { skip_invalid: true, max: 3, ..RULES };
    for text in [
        "[1,2,3,4,",
        r#"{"members":[1,2,3,4,"#,
        r#"[{"targets":[1,2,3,4]},"#,
        "http://a:1 x\nhttp://a:1 x\nhttp://a:1 x\nhttp://a:1 x\n",
    ] {
        let said = read(text.as_bytes(), rules).expect_err("too many are wrong");
        assert_eq!(said, ListProblem::TooManyWrong { most: 3 }, "{text}");
    }
}

#[test]
fn an_element_of_too_many_parts_is_refused_before_it_is_read_to_its_end() {
    for (text, place) in [
        (format!("[{{\"targets\":[{}", "1,".repeat(30_000)), "[0]"),
        (format!("[{{\"url\":\"http://a:1\"}},{{\"url\":{{\"a\":[{}", "{},".repeat(30_000)), "[1]"),
        (format!("{{\"members\":[{}", "[".repeat(100) + &"0,".repeat(30_000)), "members[0]"),
    ] {
        let said = read(text.as_bytes(), RULES).expect_err("too large");
        assert_eq!(said, ListProblem::TooLarge { place: place.to_owned() });
    }
}

#[test]
fn members_whom_this_server_cannot_reach_are_wrong_entries() {
    let misfit = |url: &MemberUrl| (url.scheme == "ajp").then(|| "no module speaks ajp".to_owned());
    let text = b"http://a:1\najp://b:1\n";
    let said = read(text, ListingRules { misfit, ..RULES }).expect_err("nobody speaks ajp").to_string();
    assert_eq!(said, "line 2: no module speaks ajp");
    let listed = read(text, ListingRules { misfit, skip_invalid: true, ..RULES }).expect("a list");
    assert_eq!((listed.members.len(), listed.skipped), (1, 1));
}

proptest! {
    /// Any bytes of a file are a list of members that can be kept, or one line that says what is
    /// wrong.
    #[test]
    fn bytes_are_a_list_or_a_problem(
        bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..60),
            r#"[\[{]?(\{?"(targets|labels|members|url|name|weight)":|["\[\]{},:]|10\.0\.0\.[0-9]:80|http://[ab]|[0-9]){0,12}"#
                .prop_map(String::into_bytes),
            "(http://[ab]:[0-9]{1,5}|[ \n]|weight=[0-9.]{1,4}|name=[a-c]|\"){0,10}".prop_map(String::into_bytes),
        ],
        skip_invalid: bool,
    ) {
        match read(&bytes, ListingRules { skip_invalid, max: 3, ..RULES }) {
            Ok(listed) => {
                prop_assert!(listed.members.len() <= 3);
                let names: HashSet<&str> = listed.members.iter().map(|spec| spec.name.as_str()).collect();
                prop_assert_eq!(names.len(), listed.members.len());
                for spec in &listed.members {
                    prop_assert_eq!(MemberSpec::from_line(&spec.to_line()), Ok(MemberSpec::clone(spec)));
                }
            }
            Err(problem) => prop_assert!(!problem.to_string().contains(['\n', '\r'])),
        }
    }

    /// However lists follow each other, one that is read beside the list before says the same as
    /// one that is read alone.
    #[test]
    fn entries_that_are_known_change_no_list(
        texts in proptest::collection::vec(
            "(http://[ab]:[12]( weight=[12]| name=[a-c]| name=b%3a1|)\n){0,6}",
            1..6,
        ),
        keys in proptest::collection::vec(
            proptest::collection::btree_map("app/[ab]", r#"\{"url":"http://[ab]:[12]"\}|\{|[0-9]"#, 0..4),
            1..6,
        ),
        skip_invalid: bool,
    ) {
        let rules = ListingRules { skip_invalid, ..RULES };
        let mut known = KnownEntries::default();
        for text in texts {
            let again = read_again(text.as_bytes(), rules, &mut known);
            prop_assert_eq!(again.map_err(|problem| problem.to_string()),
                read(text.as_bytes(), rules).map_err(|problem| problem.to_string()));
        }
        let mut known = KnownEntries::default();
        for keys in keys {
            let of = |known: &mut KnownEntries| {
                let keys = keys.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes()));
                read_keys(keys, rules, known).map_err(|problem| problem.to_string())
            };
            prop_assert_eq!(of(&mut known), of(&mut KnownEntries::default()));
        }
    }
}
