// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::http::tests::{Act, answer, look, pause, say, serve};

const RULES: ListingRules = ListingRules { skip_invalid: false, max: 1000, misfit: |_| None };
const ONE: &[u8] = br#"[{"Node":{"Address":"192.0.2.9"},"Service":{"Address":"","Port":80}}]"#;

fn source(url: &str, change: impl FnOnce(&mut ConsulPlace)) -> ConsulSource {
    let agent = url.strip_suffix("/app.json?full=1").expect("a URL of the fake");
    let mut place = ConsulPlace { every_ms: 1000, ..ConsulPlace::of(format!("{agent}/app")) };
    change(&mut place);
    ConsulSource::new(place, RULES, Path::new("/"))
}

fn at(index: &str) -> Act {
    answer(&format!("X-Consul-Index: {index}\r\n"), ONE)
}

fn lines(body: &str) -> Result<String, String> {
    let listed = answer::read(body.as_bytes(), ListingRules { skip_invalid: true, ..RULES })?;
    let lines: Vec<String> = listed.members.iter().map(|spec| spec.to_line()).collect();
    Ok(format!("{}{}", lines.join("; "), listed.first_skipped))
}

#[test]
fn instances_are_members_in_the_order_of_their_addresses() {
    let body = r#"[
        {"Node":{"Address":"192.0.2.9"},"Service":{"Address":"","Port":81,"Tags":null,"Meta":null}},
        {"Node":{"Address":"192.0.2.9"},"Service":{"Address":"2001:db8::1","Port":80,
            "Weights":{"Passing":10,"Warning":2},"Meta":{"zone":"eu","version":"7","b c":"x"}},
            "Checks":[{"CheckID":"a","Status":"passing"}]},
        {"Service":{"Address":"192.0.2.8","Port":80,"Weights":{"Passing":10,"Warning":2}},
            "Checks":[{"CheckID":"a","Status":"warning"},{"CheckID":"b","Status":"passing"}]},
        {"Service":{"Address":"192.0.2.8","Port":80}},
        {"Service":{"Address":"app.internal","Port":80},
            "Checks":[{"CheckID":"_service_maintenance:app","Status":"critical"}]}
    ]"#;
    assert_eq!(
        lines(body).as_deref(),
        Ok("http://192.0.2.8 weight=2; http://192.0.2.9:81; \
            http://[2001:db8::1] weight=10 zone=eu meta.version=7; http://app.internal status=N")
    );
    assert_eq!(lines("[]").as_deref(), Ok(""), "no instance, and no error");
}

#[test]
fn wrong_instances_are_named_and_other_answers_refused() {
    for (body, says) in [
        (r#"[{"Service":{"Address":"a","Port":0}}]"#, "[0] (a:0): expected a port from 1 to 65535"),
        (r#"[{"Service":{"Address":"a","Port":65616}}]"#, "[0] (a:65616): expected a port"),
        (r#"[{"Service":{"Address":"","Port":80}}]"#, "[0] (:80): it has no address"),
        (r#"[{"Service":{"Address":"a b","Port":80}}]"#, "[0] (a b:80): URL http://a b:80"),
        ("null", "the answer is not Consul's: invalid type: null"),
        ("{}", "the answer is not Consul's: invalid type: map"),
        ("[{}]", "the answer is not Consul's: missing field `Service`"),
        ("[", "the answer is not Consul's: EOF"),
    ] {
        let said = lines(body).unwrap_or_else(|why| why);
        assert!(said.starts_with(says), "{said:?} should say {says:?}");
    }
    let many = format!("[{}{{}}]", "{},".repeat(400_000));
    let said = answer::read(many.as_bytes(), RULES).expect_err("too many");
    assert!(said.starts_with("the answer is not Consul's: it has too many parts"), "{said}");
    let wrong = r#"[{"Service":{"Address":"a","Port":80}},{"Service":{"Address":"b","Port":0}}]"#;
    assert!(answer::read(wrong.as_bytes(), RULES).is_err(), "a part of a list is none");
}

#[test]
fn questions_wait_by_the_index_which_begins_anew_when_it_goes_back() {
    let said = ["7", "9", "9", "3", "4", "0", "no", "5"];
    let (url, heads) = serve(said.into_iter().map(at).collect());
    let mut source = source(&url, |_| {});
    let mut asked = Vec::new();
    let mut known = None;
    for _ in said {
        let look = look(&mut source);
        assert!(pause(&look) >= SPACE, "questions follow each other with a pause");
        let list = look.found().expect("a list");
        assert!(known.as_ref().is_none_or(|known| Arc::ptr_eq(known, &list)), "the same list");
        known = Some(list);
        let head = heads.recv().expect("a question");
        let line = head.lines().next().expect("a line").to_owned();
        let index = line.split("index=").nth(1).map_or("-", |rest| rest.split('&').next().expect("a word"));
        assert_eq!(index != "-", line.contains("wait=1000ms"), "{line}");
        asked.push(index.to_owned());
    }
    // From 9 to 3 it has gone back, from 4 to 0 as well; no number is asked by as 1.
    assert_eq!(asked, ["-", "7", "9", "9", "-", "4", "-", "1"]);
}

#[test]
fn an_agent_that_never_lets_a_question_wait_is_asked_once_a_second() {
    let (url, _heads) = serve(vec![answer("", ONE), answer("", ONE), answer("", ONE)]);
    let mut source = source(&url, |_| {});
    let pauses = [(); 3].map(|()| pause(&look(&mut source)));
    assert_eq!(pauses, [SPACE, LONG_SPACE, LONG_SPACE]);
}

#[test]
fn failures_say_the_agents_words_and_are_asked_anew() {
    let refused = "HTTP/1.1 403 Forbidden\r\nContent-Length: 27\r\n\r\nPermission denied: t-secret";
    let acts = vec![
        at("5"),
        say("HTTP/1.1 500 Error\r\nContent-Length: 17\r\n\r\nNo cluster leader"),
        say(refused),
        say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[{\"Se\r\n"),
        answer("X-Consul-Index: 5\r\nX-Consul-Results-Filtered-By-ACLs: true\r\n", b"[]"),
        say("HTTP/1.1 301 Moved\r\nLocation: http://x/\r\n\r\n"),
        Act::Hang(Vec::new()),
    ];
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "t-secret\n").expect("written");
    let (url, heads) = serve(acts);
    let mut source = source(&url, |place| {
        place.token_file = Some(file.to_string_lossy().into_owned());
        (place.timeout_ms, place.passing, place.tag) = (200, false, Some("a&b".into()));
    });
    assert!(look(&mut source).found().is_ok());
    let head = heads.recv().expect("a question");
    assert!(head.starts_with("get /v1/health/service/app?tag=a%26b http"), "{head}");
    assert!(head.contains("\nx-consul-token: t-secret"), "{head}");
    for says in [
        "HTTP 500: No cluster leader",
        "HTTP 403: Permission denied: ***",
        "the connection was closed before the answer was complete",
        "the token may not read all instances",
        "HTTP 301: redirects are not followed",
        "timed out after",
    ] {
        let said = look(&mut source).found().expect_err(says);
        assert!(said.starts_with(says), "{said:?} should say {says:?}");
        let head = heads.recv().expect("a question");
        assert_eq!(head.contains("index="), says.starts_with("HTTP 500"), "{head}");
    }
}

#[test]
fn no_part_of_a_token_is_told_wherever_the_text_is_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "t-secret-of-some-length\n").expect("written");
    let befores = [0, 40, 50, 150, 180, 190, 380];
    let acts = befores.iter().flat_map(|before| {
        let words = format!("{}t-secret-of-some-length", "x".repeat(*before));
        let blank = " ".repeat(4095 - before - 10);
        [
            say(&format!("HTTP/1.1 403 Forbidden\r\n\r\n{words}")),
            say(&format!("HTTP/1.1 403 Forbidden\r\n\r\n{blank}{words}")),
            answer("", format!("\"{words}\"").as_bytes()),
            answer("", format!("[{{\"Service\":{{\"Address\":\"{words}\",\"Port\":0}}}}]").as_bytes()),
        ]
    });
    let (url, _heads) = serve(acts.collect());
    let mut source = source(&url, |place| place.token_file = Some(file.to_string_lossy().into_owned()));
    for _ in 0..befores.len() * 4 {
        let said = look(&mut source).found().expect_err("no list");
        assert!(!said.contains("t-se"), "{said}");
    }
}

#[test]
fn a_question_that_was_dropped_is_followed_by_one_that_does_not_wait() {
    let (url, heads) = serve(vec![at("5"), Act::Hang(Vec::new()), at("5")]);
    let mut source = source(&url, |_| {});
    assert!(look(&mut source).found().is_ok());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let dropped = runtime
        .block_on(async { tokio::time::timeout(Duration::from_millis(300), source.look()).await.is_err() });
    assert!(dropped && look(&mut source).found().is_ok());
    let asked: Vec<bool> = heads.try_iter().map(|head| head.contains("index=5")).collect();
    assert_eq!(asked, [false, true, false]);
}
