// SPDX-License-Identifier: Apache-2.0
//! A script that reads the body leaves it whole to the member.

use server_tests::client::BodyEncoding;
use server_tests::message::body_hash;
use server_tests::{Backend, Httpd, Mpm, Request, on_every_mpm, pool};

const FORM: &str = "application/x-www-form-urlencoded";

const SCRIPT: &str = "local function look(r)
  local form = r:parsebody()
  r.headers_in['X-Seen'] = form.a or 'nothing'
  form = r:parsebody(20000)
  r.headers_in['X-Again'] = form.a or 'nothing'
  return lb.pool('app')
end
translate, select = look, look";

on_every_mpm!(a_body_that_a_script_has_read_reaches_the_member_whole);

fn a_body_that_a_script_has_read_reaches_the_member_whole(mpm: Mpm) {
    let [backend, dead] = Backend::named(["a", "dead"]);
    dead.refuse();
    let httpd = Httpd::builder()
        .mpm(mpm)
        .file("look.lua", SCRIPT)
        .config(&pool("app", &[(&dead, ""), (&backend, "")], "LuaBalancerMethod first\nLuaBalancerOutlier off"))
        .config("<Location /t>\n  LuaHookTranslate look.lua\n</Location>\n<Location /s>\n  LuaHookSelect look.lua\n</Location>")
        .start();
    let mut client = httpd.client();
    for length in [0, 1, 100, 8191, 8192, 8193, 20_001, 300_000] {
        let body: Vec<u8> =
            b"a=b&c=".iter().copied().chain((0..length).map(|at| b'a' + (at % 23) as u8)).collect();
        for encoding in [BodyEncoding::Length, BodyEncoding::Chunked] {
            for place in ["/t", "/s"] {
                let request =
                    Request::post(place, body.clone()).header("Content-Type", FORM).encoding(encoding);
                let answer = client.send(&request.header("Expect", "100-continue"));
                let seen = backend.last().expect("a request");
                let told = [seen.headers.get("X-Seen"), seen.headers.get("X-Again")];
                let what = format!("{place} {encoding:?} {length}");
                assert_eq!((answer.backend(), told), ("a", [Some("b"); 2]), "{what}");
                assert_eq!((seen.body_length, seen.body_hash), (body.len(), body_hash(&body)), "{what}");
            }
        }
    }
    let answer = client.get("/t");
    assert_eq!(
        (answer.backend(), backend.last().expect("a request").headers.get("X-Seen")),
        ("a", Some("nothing"))
    );
}

#[test]
fn a_body_that_is_too_long_is_refused_by_httpds_own_limit() {
    let backend = Backend::new("a");
    let httpd = Httpd::builder()
        .file("look.lua", SCRIPT)
        .config(&pool("app", &[(&backend, "")], ""))
        .config("LuaHookTranslate look.lua\nLimitRequestBody 1000")
        .start();
    for encoding in [BodyEncoding::Length, BodyEncoding::Chunked] {
        let request = Request::post("/x", vec![b'a'; 5000]).encoding(encoding);
        assert_eq!(httpd.client().send(&request).status, 413, "{encoding:?}");
    }
    assert_eq!(backend.requests(), 0);
}

#[test]
fn a_body_that_was_read_goes_along_with_an_internal_redirect() {
    let backend = Backend::new("a");
    let builder = Httpd::builder()
        .file("look.lua", &format!("{SCRIPT}\nfunction first(r) r:parsebody() return nil end"))
        .config(&pool("app", &[(&backend, "")], ""));
    let root = builder.dir().join("htdocs");
    let httpd = builder
        .config("<Location /first>\n  LuaHookTranslate look.lua first\n</Location>")
        .config("<Location /second>\n  LuaHookTranslate look.lua\n</Location>")
        .config(&format!(
            "<Directory {}>\n  Require all granted\n  RewriteEngine on\n  RewriteRule ^first/(.*)$ /second/$1\n</Directory>",
            root.display()
        ))
        .start();
    for length in [3, 20_000] {
        for encoding in [BodyEncoding::Length, BodyEncoding::Chunked] {
            let body = ["a=b&".as_bytes(), &vec![b'x'; length]].concat();
            let answer = httpd.client().send(
                &Request::post("/first/x", body.clone()).header("Content-Type", FORM).encoding(encoding),
            );
            let seen = backend.last().expect("a request");
            assert_eq!(
                (answer.backend(), &*seen.uri, seen.headers.get("X-Seen")),
                ("a", "/second/x", Some("b"))
            );
            assert_eq!((seen.body_length, seen.body_hash), (body.len(), body_hash(&body)), "{encoding:?}");
        }
    }
}

/// User and system time of a process, in ticks of the clock.
fn ticks_of(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process's stat");
    let behind_the_name = stat.rsplit_once(')').expect("a name in brackets").1;
    let mut words = behind_the_name.split_ascii_whitespace().skip(11);
    let mut ticks = || -> u64 { words.next().and_then(|word| word.parse().ok()).expect("a number of ticks") };
    ticks() + ticks()
}

#[test]
fn a_body_in_very_many_chunks_costs_no_more_than_the_same_chunks_in_several_bodies() {
    let httpd = Httpd::builder()
        .file("deny.lua", "function translate(r) r:parsebody(200000) return 403 end")
        .config("<Location /t>\n  LuaHookTranslate deny.lua\n</Location>")
        .children(1)
        .start();
    let child = httpd.wait_for_children(1)[0];
    let cost_of = |chunks: usize, bodies: usize| {
        let head = format!(
            "POST /t HTTP/1.1\r\nHost: a\r\nContent-Type: {FORM}\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        let request = [head.as_bytes(), &b"1\r\na\r\n".repeat(chunks), b"0\r\n\r\n"].concat();
        let before = ticks_of(child);
        for _ in 0..bodies {
            let answer = httpd.client().try_send_raw(&request).expect("an answer");
            assert_eq!(answer.status, 403, "{}", answer.text());
        }
        ticks_of(child) - before
    };
    cost_of(5_000, 2);
    let (several, one) = (cost_of(5_000, 16), cost_of(80_000, 1));
    assert!(one <= 4 * several + 20, "80,000 chunks: {one} ticks in one body, {several} in sixteen");
}
