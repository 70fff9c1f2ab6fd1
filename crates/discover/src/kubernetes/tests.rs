// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::http::tests::{Act, answer, look, say, serve};

const RULES: ListingRules = ListingRules { skip_invalid: false, max: 1000, misfit: |_| None };

fn page(items: &str, next: &str) -> String {
    format!(r#"{{"metadata":{{"resourceVersion":"7","continue":"{next}"}},"items":{items}}}"#)
}

/// A slice `s` of one port with these endpoints.
fn slice(name: &str, endpoints: &str) -> String {
    format!(
        r#"{{"metadata":{{"name":"{name}","resourceVersion":"8"}},"addressType":"IPv4",
            "ports":[{{"name":"http","port":8080,"protocol":"TCP"}},{{"name":"dns","port":53,"protocol":"UDP"}}],
            "endpoints":{endpoints}}}"#
    )
    .replace('\n', " ")
}

fn endpoint(address: &str, conditions: &str) -> String {
    format!(r#"{{"addresses":["{address}"],"conditions":{{{conditions}}}}}"#)
}

fn lines_of(slices: &Slices, port: &str) -> Result<String, String> {
    let listed = slices.members(port, RULES)?;
    let lines: Vec<String> = listed.members.iter().map(|spec| spec.to_line()).collect();
    Ok(lines.join("; "))
}

fn lines(items: &[String], port: &str) -> Result<String, String> {
    let mut slices = Slices::default();
    slices.page(page(&format!("[{}]", items.join(",")), "").as_bytes())?;
    lines_of(&slices, port)
}

#[test]
fn endpoints_that_are_ready_are_members_and_those_that_end_drain() {
    let endpoints = [
        endpoint("192.0.2.1", ""),
        endpoint("192.0.2.2", r#""ready":true"#),
        endpoint("192.0.2.3", r#""ready":false"#),
        endpoint("192.0.2.4", r#""ready":false,"serving":true,"terminating":true"#),
        endpoint("192.0.2.5", r#""ready":false,"serving":false,"terminating":true"#),
        endpoint("192.0.2.6", r#""ready":null,"serving":null,"terminating":null"#),
        r#"{"addresses":["192.0.2.7","192.0.2.8"],"zone":"eu","targetRef":{"name":"app-7"}}"#.to_owned(),
    ];
    let all = slice("s", &format!("[{}]", endpoints.join(",")));
    let expected = "http://192.0.2.1:8080; http://192.0.2.2:8080; http://192.0.2.4:8080 status=N; \
                    http://192.0.2.6:8080; http://192.0.2.7:8080 zone=eu meta.pod=app-7";
    assert_eq!(lines(std::slice::from_ref(&all), "http").as_deref(), Ok(expected));
    assert_eq!(lines(&[all], "8080").as_deref(), Ok(expected), "by the number as well");
    assert_eq!(lines(&[], "http").as_deref(), Ok(""));
    assert_eq!(lines(&[slice("s", "null")], "none").as_deref(), Ok(""), "nobody is at the wrong port");
}

#[test]
fn an_endpoint_of_two_slices_and_a_pod_of_two_families_are_one_member() {
    let twice = [
        slice(
            "a",
            &format!("[{}]", endpoint("192.0.2.1", r#""ready":false,"serving":true,"terminating":true"#)),
        ),
        slice("b", &format!("[{}]", endpoint("192.0.2.1", ""))),
    ];
    assert_eq!(lines(&twice, "http").as_deref(), Ok("http://192.0.2.1:8080"));
    let pod = |address: &str, pod: &str| {
        slice(
            address,
            &format!(r#"[{{"addresses":["{address}"],"targetRef":{{"name":"{pod}","uid":"{pod}"}}}}]"#),
        )
    };
    let both = [pod("2001:db8::1", "one"), pod("192.0.2.1", "one"), pod("2001:db8::2", "two")];
    let expected = "http://192.0.2.1:8080 meta.pod=one; http://[2001:db8::2]:8080 meta.pod=two";
    assert_eq!(lines(&both, "http").as_deref(), Ok(expected));
}

#[test]
fn wrong_endpoints_are_named_and_other_answers_refused() {
    let one = |address: &str| slice("s", &format!("[{}]", endpoint(address, "")));
    for (found, says) in [
        (
            lines(&[one("app.internal")], "http"),
            "s.endpoints[0]: found app.internal (addressType IPv4), expected",
        ),
        (lines(&[one("192.0.2.1")], "web"), "s.endpoints[0]: no TCP port is web: found http=8080 dns=53"),
        (lines(&[one("192.0.2.1")], "dns"), "s.endpoints[0]: no TCP port is dns"),
        (lines(&[slice("s", "[{}]")], "http"), "s.endpoints[0]: it has no address"),
        (
            Slices::default().page(b"null").map(|_| String::new()),
            "the answer is not a list of EndpointSlices",
        ),
        (
            Slices::default().page(br#"{"metadata":{}}"#).map(|_| String::new()),
            "the list has no resourceVersion",
        ),
        (
            Slices::default()
                .page(page(&format!("[{}{{}}]", "{},".repeat(600_000)), "").as_bytes())
                .map(|_| String::new()),
            "the answer is not a list of EndpointSlices: it has too many parts",
        ),
        (
            Slices::default().event(b"{}").map(|_| String::new()),
            "the watch has said something that is not an event",
        ),
    ] {
        let said = found.expect_err(says);
        assert!(said.starts_with(says), "{said:?} should say {says:?}");
    }
}

#[test]
fn events_change_slices_and_tell_when_the_version_is_gone() {
    let mut slices = Slices::default();
    let event = |kind: &str, object: &str| format!(r#"{{"type":"{kind}","object":{object}}}"#);
    let one = |address: &str| slice("s", &format!("[{}]", endpoint(address, "")));
    let mut hear =
        |text: String| slices.event(text.as_bytes()).map(|change| (change, lines_of(&slices, "http")));
    let member = |address: &str| Ok(format!("http://{address}:8080"));
    assert_eq!(hear(event("ADDED", &one("192.0.2.1"))), Ok((SliceChange::Slices, member("192.0.2.1"))));
    assert_eq!(hear(event("MODIFIED", &one("192.0.2.2"))), Ok((SliceChange::Slices, member("192.0.2.2"))));
    let bookmark = r#"{"kind":"EndpointSlice","metadata":{"resourceVersion":"99"}}"#;
    assert_eq!(hear(event("BOOKMARK", bookmark)), Ok((SliceChange::Version, member("192.0.2.2"))));
    assert_eq!(hear(event("DELETED", &one("192.0.2.2"))), Ok((SliceChange::Slices, Ok(String::new()))));
    let gone = r#"{"kind":"Status","code":410,"message":"too old resource version"}"#;
    assert_eq!(hear(event("ERROR", gone)), Ok((SliceChange::Gone, Ok(String::new()))));
    let other = r#"{"kind":"Status","code":500,"message":"etcdserver: no leader"}"#;
    assert_eq!(hear(event("ERROR", other)), Err("the watch has ended: etcdserver: no leader".to_owned()));
    assert_eq!(slices.version, "8", "a slice's own, after the bookmark's");
}

fn source(url: &str, change: impl FnOnce(&mut KubernetesPlace)) -> KubernetesSource {
    let server = url.strip_suffix("/app.json?full=1").map(str::to_owned);
    let mut place =
        KubernetesPlace { server, every_ms: 1000, ..KubernetesPlace::of("shop/app:http".to_owned()) };
    change(&mut place);
    KubernetesSource::new(place, RULES, Path::new("/"))
}

fn names(source: &mut KubernetesSource) -> Result<String, String> {
    let list = look(source).found()?;
    Ok(list.members.iter().map(|spec| spec.name.as_str()).collect::<Vec<_>>().join(" "))
}

#[test]
fn a_list_is_complete_or_an_error() {
    let one = |name: &str, at: u8| slice(name, &format!("[{}]", endpoint(&format!("192.0.2.{at}"), "")));
    let first = || answer("", page(&format!("[{}]", one("a", 1)), "next/1").as_bytes());
    let last = || answer("", page(&format!("[{}]", one("b", 2)), "").as_bytes());
    let gone = || say("HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n");
    let acts = vec![
        first(),
        last(),
        first(),
        say(""),
        first(),
        gone(),
        first(),
        last(),
        first(),
        gone(),
        first(),
        gone(),
    ];
    let (url, heads) = serve(acts);
    let both = Ok("192.0.2.1:8080 192.0.2.2:8080".to_owned());
    assert_eq!(names(&mut source(&url, |_| {})), both);
    let head = heads.recv().expect("a question");
    assert!(head.starts_with("get /apis/discovery.k8s.io/v1/namespaces/shop/endpointslices?"), "{head}");
    assert!(head.contains("labelselector=kubernetes.io%2fservice-name%3dapp&limit=100 "), "{head}");
    assert!(heads.recv().is_ok_and(|head| head.contains("&continue=next%2f1 ")));
    let said = names(&mut source(&url, |_| {})).expect_err("half a list");
    assert!(said.starts_with("the connection was closed before"), "{said}");
    assert_eq!(names(&mut source(&url, |_| {})), both, "a list that grew too old is begun anew");
    let said = names(&mut source(&url, |_| {})).expect_err("gone twice");
    assert!(said.starts_with("HTTP 410"), "{said}");
}

#[test]
fn refusals_say_the_servers_reason_and_never_the_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "t-secret\n").expect("written");
    let body = r#"{"kind":"Status","message":"token t-secret is expired"}"#;
    let head = format!("HTTP/1.1 401 Unauthorized\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let (url, heads) = serve(vec![say(&head), Act::Hang(Vec::new())]);
    let mut source = source(&url, |place| {
        (place.token_file, place.timeout_ms) = (Some(file.to_string_lossy().into_owned()), 300);
    });
    assert_eq!(names(&mut source), Err("HTTP 401: token *** is expired".to_owned()));
    assert!(heads.recv().is_ok_and(|head| head.contains("\nauthorization: bearer t-secret")));
    assert_eq!(names(&mut source), Err("timed out after 300ms waiting for the answer".to_owned()));
}

#[test]
fn an_account_that_may_not_watch_is_an_error_once_and_lists_now_and_then() {
    let list = || answer("", page("[]", "").as_bytes());
    let body = r#"{"kind":"Status","message":"cannot watch resource endpointslices"}"#;
    let denied = || say(&format!("HTTP/1.1 403 Forbidden\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    let gone = || say("HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n");
    let watched = || say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let acts = [list(), denied(), list(), denied(), list(), denied(), list(), watched(), denied(), list()];
    let (url, heads) = serve(acts.into_iter().chain([gone(), list(), denied()]).collect());
    let mut source = source(&url, |_| {});
    let mut pause = || match look(&mut source) {
        Look::List(_, pause) => Ok(pause),
        other => Err(other.found().expect_err("an error")),
    };
    let why = "it may be listed and not watched, and is listed every 10s: HTTP 403: \
               cannot watch resource endpointslices";
    assert_eq!([pause(), pause()], [Ok(Duration::ZERO), Err(why.to_owned())]);
    // It is listed again, and then left alone, as often as it is told so.
    assert_eq!([pause(), pause()], [Ok(Duration::ZERO), Ok(UNWATCHED)]);
    assert_eq!([pause(), pause()], [Ok(Duration::ZERO), Ok(UNWATCHED)]);
    // It may by now, and then may not again.
    assert_eq!([pause(), pause()], [Ok(Duration::ZERO), Ok(SPACE)]);
    assert_eq!([pause(), pause()], [Err(why.to_owned()), Ok(Duration::ZERO)]);
    // A version that is gone does not hide it.
    assert_eq!([pause(), pause()], [Ok(SPACE), Ok(UNWATCHED)]);
    let watches = heads.try_iter().filter(|head| head.contains("watch=1")).count();
    assert_eq!(watches, 7);
}
