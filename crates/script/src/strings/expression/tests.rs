// SPDX-License-Identifier: Apache-2.0
//! The expressions that `r:expr` takes, and how it is limited.

use super::*;

#[test]
fn long_texts_get_fewer_steps_and_longer_ones_none() {
    let of = |text: &str| checked(text.as_bytes(), true).expect("an expression");
    let steps = |text: &str, longest| of(text).within(longest);
    let one = "%{note:x} =~ /a+b/";
    assert!(steps(one, 160).is_ok_and(|text| text.contains("LIMIT_MATCH=300000)")));
    assert!(steps(one, 8 << 10).is_ok_and(|text| text.contains("LIMIT_MATCH=6103)")));
    assert!(
        steps("'%{note:x}%{note:y}' =~ /a+b/", 8 << 10).is_ok_and(|text| text.contains("LIMIT_MATCH=3051)"))
    );
    assert!(steps(one, 11 << 10).is_err());
    assert!(steps("base64(%{note:x}) =~ /a+b/", 8 << 10).is_err());
    assert!(!of("%{note:x} == 'a'").may_be_costly());
    // Functions give texts of the request as variables do.
    let twice = "note('x') =~ /a+b/ || req ('y') =~ /a+b/";
    assert!(steps(twice, 8 << 10).is_ok_and(|text| text.contains("LIMIT_MATCH=3051)")));
}

#[test]
fn expressions_that_put_long_texts_together_are_refused() {
    let of = |text: &str, longest| checked(text.as_bytes(), true).expect("an expression").may_make(longest);
    let chain = |part: &str| format!("{} == 'a'", vec![part; 300].join("."));
    assert!(of(&chain("note('x')"), 1 << 10).is_ok());
    assert!(of(&chain("note('x')"), 1 << 20).is_err());
    assert!(of(&chain("%{note:x}"), 1 << 20).is_err());
    assert!(of("base64(base64(base64(%{note:x}))) == 'a'", 8 << 10).is_ok());
    assert!(of("'%{base64:%{base64:%{base64:%{note:x}}}}' == 'a'", 8 << 10).is_ok());
    let nested = format!("{}%{{note:x}}{} == 'a'", "Base64 (".repeat(12), ")".repeat(12));
    assert!(of(&nested, 8 << 10).is_err());
}

#[test]
fn one_search_is_told_from_what_has_more_to_it() {
    for (text, word, pattern, flags) in [
        ("%{HTTP_HOST} =~ /^a/", "%{HTTP_HOST}", "^a", ""),
        (" '%{HTTP:X}-%{note:y}'=~m#/b#i ", "%{HTTP:X}-%{note:y}", "/b", "i"),
        ("\"it's\"\t=~ /'/", "it's", "'", ""),
        ("'' =~ m/a|b/", "", "a|b", ""),
    ] {
        let found = Alone { word, is_negated: false, pattern, flags };
        assert_eq!(alone(text.as_bytes()), Some(found), "{text}");
        let negated = text.replacen("=~", "!~", 1);
        assert!(alone(negated.as_bytes()).is_some_and(|found| found.is_negated), "{negated}");
    }
    for text in [
        "%{HTTP_HOST} =~ /^a/ && true",
        "!%{HTTP_HOST} =~ /^a/",
        "%{HTTP_HOST}.'a' =~ /^a/",
        "'a' 'b' =~ /^a/",
        "'a\\'b' =~ /^a/",
        "'$1' =~ /^a/",
        "'%{escape:%{HTTP_HOST}}' =~ /^a/",
        "%{escape:%{HTTP_HOST}} =~ /^a/",
        "tolower('A') =~ /^a/",
        "%{HTTP_HOST} == 'a'",
        "-z '' =~ /a/",
    ] {
        assert_eq!(alone(text.as_bytes()), None, "{text}");
    }
}

fn found(text: &str) -> Result<(String, Vec<String>), String> {
    checked(text.as_bytes(), true).map(|checked| (checked.text, checked.patterns))
}

fn limited(pattern: &str) -> String {
    format!("{BEFORE}{pattern}{BEHIND}")
}

#[test]
fn text_without_a_pattern_stays_as_it_is() {
    for text in [
        "",
        "true",
        "%{REQUEST_METHOD} == 'GET'",
        "-n %{HTTP_COOKIE} && !(-z %{QUERY_STRING})",
        "%{HTTP:X-File} -in {'a', \"b -U '\", '\\'-U'}",
        "tolower(%{HTTP_HOST}) == 'it''s' || -R '10.0.0.0/8'",
        "'x-F' == 'GROUP-A' and %{TIME_HOUR} -gt 5",
        "%{HTTP_HOST} -strmatch '*.example.*' or 'file' == \"osenv('x')\"",
        "'%{HTTP_HOST}:%{escape:a/b}' == 'm/x/'",
        "%{escape:a%{tolower:%{REQUEST_URI}}b}.%{HTTP_HOST} == '/x'",
        "'100%' == '%%{HTTP_HOST}'",
    ] {
        assert_eq!(found(text), Ok((text.to_owned(), Vec::new())), "{text}");
    }
}

#[test]
fn patterns_get_their_limit_whatever_stands_around_them() {
    for (text, expected, patterns) in [
        ("'a' =~ /b+/", format!("'a' =~  m/{}/", limited("b+")), vec!["b+"]),
        ("'a' =~ m#b/c#i", format!("'a' =~  m#{}#i", limited("b/c")), vec!["b/c"]),
        ("'a' =~ m:b:", format!("'a' =~  m/{}/", limited("b")), vec!["b"]),
        ("'a' =~ m.b/c.", format!("'a' =~  m#{}#", limited("b/c")), vec!["b/c"]),
        (
            "'/'=~/'/&&'a'!~/-U/",
            format!("'/'=~ m/{}/&&'a'!~ m/{}/", limited("'"), limited("-U")),
            vec!["'", "-U"],
        ),
        ("am/x/", format!("am m/{}/", limited("x")), vec!["x"]),
        ("'a' =~ /\\(*/", format!("'a' =~  m/{}/", limited("\\(*")), vec!["\\(*"]),
    ] {
        let patterns = patterns.into_iter().map(str::to_owned).collect();
        assert_eq!(found(text), Ok((expected, patterns)), "{text}");
    }
}

#[test]
fn sub_requests_are_refused_with_and_without_sandbox() {
    for text in [
        "-U '/x'",
        "-F'/x'",
        "-A \"/x\"",
        "!-U '/x'",
        "true&&-U '/x'",
        "(-U '/x')",
        "'a' == 'b' || -U\t'/x'",
        "'\\'' == 'a' || -U '/x'",
        "%{HTTP_HOST} =~ /'/ || -U '/x'",
        "'%{HTTP:a\\}b}' == '' || -U '/x'",
        "'\"' == 'a' || -U '/x'",
        "'%' == 'a' || -U '%{REQUEST_URI}'",
        "m/x/||-U '/x'",
        "-f'x'||-F '/x'",
    ] {
        for sandbox in [true, false] {
            let error = checked(text.as_bytes(), sandbox).unwrap_err();
            assert!(error.contains("sub-request") || sandbox && error.contains("files"), "{text}: {error}");
        }
    }
}

#[test]
fn files_and_the_environment_are_out_of_reach_in_the_sandbox_alone() {
    for text in [
        "file('/p') =~ /x/",
        "FILE ('/p') == 'x'",
        "filesize('/p') -gt 0",
        "fileMod('/p') -gt 0",
        "-f '/p'",
        "-d '/p'",
        "-e '/p'",
        "-s '/p'",
        "-L '/p'",
        "-h '/p'",
        "-x '/p'",
        "'%{file:/p}' == 'x'",
        "'a%{OSENV:P}' == 'x'",
        "osenv('P') == 'x'",
        "%{filesize:/p} == 1",
        "'%{escape:%{file:/p}}' == 'x'",
        "md5(file('/p')) == 'x'",
        "'a' -in {file('/p')}",
    ] {
        let error = checked(text.as_bytes(), true).unwrap_err();
        assert!(error.contains("LuaBalancerSandbox on"), "{text}: {error}");
        assert!(checked(text.as_bytes(), false).is_ok(), "{text}");
    }
}

#[test]
fn expressions_that_could_be_read_in_two_ways_are_refused() {
    for text in [
        "'a",
        "\"a'",
        "'a' =~ /b",
        "'a' =~ /b/im",
        "'a' =~ /b/x",
        "%{",
        "%{:-U '/x':}",
        "'%{:file('/p'):}'",
        "%{a b}",
        "%{HTTP:a'}' || -U '/x'",
        "'%{HTTP:a\"}'",
        "'%{escape:%{a'}}'",
        "s/a/b/",
        "'a' =~ m_(b)_",
        "'a' =~ /(*LIMIT_MATCH=9999999)b/",
        "'a' =~ /a(*SKIP)b/",
        "'a' =~ /\\\\(*ACCEPT)/",
        "'a' =~ /(a|(?R))/",
        "'a' =~ /\\Qa/",
        "'a\\",
    ] {
        assert!(checked(text.as_bytes(), false).is_err(), "{text}");
    }
    assert!(checked("x".repeat(MOST_TEXT + 1).as_bytes(), false).is_err());
    assert!(checked(b"'\xff' == 'a'", false).is_err());
}
