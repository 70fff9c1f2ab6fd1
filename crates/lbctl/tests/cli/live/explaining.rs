// SPDX-License-Identifier: Apache-2.0
//! `lbctl explain` of servers.

use insta::assert_snapshot;

use super::fake::{Fake, Line};
use super::{Scene, relay};
use crate::{Folder, Said};

const BY_SCRIPT: &str = r#"{
  "hook": {"directive":"LuaHookTranslate","script":"lua/balancer.lua","function":"select","line":4,"version":2,
    "seconds":0.000031,"returned":"pool app, narrowed"},
  "decision": {"pool":"app","view":"where version=2","method":"least_connections","member":"c","status":null,
    "because":"least_connections of the pool picked it"},
  "candidates": [
    {"member":"a","considered":false,"why":"draining","weight":5.0,"inflight":2,"score":null},
    {"member":"c","considered":true,"why":"chosen","weight":1.0,"inflight":0,"score":0.0}],
  "session": null, "then": ["d"], "unknown": ["rules of mod_rewrite"], "new": 1}"#;

fn explaining(document: &str) -> Scene {
    Scene::with(vec![("POST /api/v1/explain", Line::Json(document.to_owned()))])
}

#[test]
fn a_server_is_asked_where_nothing_else_decides() {
    let scene = explaining(BY_SCRIPT);
    let words =
        ["explain", "-X", "POST", "-H", "X-A: 1", "-H", "X-A: 2", "--client", "192.0.2.7", "--user", "ada"];
    assert_snapshot!(
        "explained",
        scene.lbctl(&[&words[..], &["http://www.example.org/x?y"]].concat()).whole()
    );
    let asked = scene.fake.asked();
    let body = asked[0].strip_prefix("POST /api/v1/explain ").expect("a body");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let wanted = serde_json::json!({
        "uri": "http://www.example.org/x?y", "method": "POST", "client": "192.0.2.7", "user": "ada",
        "headers": { "X-A": ["1", "2"] },
    });
    assert_eq!(body, wanted);
    let said = scene.lbctl(&["explain", "-o", "json", "/"]).done();
    let parsed = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(parsed(&said.out), parsed(BY_SCRIPT));
}

#[test]
fn nobody_is_one_and_an_answer_of_the_script_is_none_of_that() {
    let nobody = |because: &str| {
        BY_SCRIPT
            .replace("\"member\":\"c\",\"status\":null", "\"member\":null,\"status\":503")
            .replace("least_connections of the pool picked it", because)
    };
    let said = explaining(&nobody("every member is down")).lbctl(&["explain", "/"]);
    assert!(said.code == 1 && said.out.contains("answered with 503"), "{}", said.whole());
    explaining(&nobody("the script answers 503")).lbctl(&["explain", "/"]).done();
    let said = explaining("{}").lbctl(&["explain", "/"]);
    assert!(said.code == 4 && said.err.contains("another shape"), "{}", said.whole());
    let said = Scene::with(Vec::new()).lbctl(&["explain", "/"]);
    assert!(said.code == 3 && said.err.contains("has no /api/v1/explain"), "{}", said.whole());
}

#[test]
fn a_busy_server_is_asked_again() {
    let folder = Folder::new();
    let busy = "HTTP/1.1 503 X\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n";
    let fake = Fake::saying(&folder.0, Line::Raw(busy.into()));
    let socket = fake.path.to_string_lossy().into_owned();
    let said = folder.lbctl(&["explain", "/", "--socket", &socket]);
    assert_eq!((said.code, fake.asked().len()), (3, 4), "{}", said.whole());
}

#[test]
fn servers_that_decide_in_another_way_are_told_apart() {
    let folder = Folder::new();
    let say = |name: &str, document: String| {
        Fake::new(&folder.0, name, vec![("POST /api/v1/explain", Line::Json(document))])
    };
    let one = say("lb1", BY_SCRIPT.to_owned());
    let other = BY_SCRIPT.replace("\"member\":\"c\",\"status\"", "\"member\":\"a\",\"status\"");
    let two = say("lb2", other.replace("false,\"why\":\"draining\"", "true,\"why\":\"\""));
    let mut listeners = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.sort_by_key(|listener| listener.local_addr().unwrap().port());
    let [first, second] = listeners;
    let (first, second) = (relay(first, one.path.clone()), relay(second, two.path.clone()));
    let urls = [format!("http://127.0.0.1:{first}/lb"), format!("http://127.0.0.1:{second}/lb")];
    let call = |words: &[&str]| {
        let both = ["--url", &urls[0], "--url", &urls[1], "/"];
        let said: Said = folder.lbctl(&[&["explain"], words, &both[..]].concat());
        let text = said.whole().replace(&format!("127.0.0.1:{first}"), "LB1");
        text.replace(&format!("127.0.0.1:{second}"), "LB2")
    };
    assert_snapshot!("explained_apart", call(&[]));
    assert_snapshot!("explained_apart_json", call(&["-o", "json"]));
}

#[test]
fn no_name_of_a_server_steers_the_terminal() {
    let evil = BY_SCRIPT
        .replace("least_connections of the pool", "\\u001b[2J\\u202e<b>")
        .replace("\"member\":\"a\"", "\"member\":\"\\u001b]0;x\\u0007\\r\\n\"");
    let scene = explaining(&evil);
    for form in ["table", "plain", "json"] {
        let said = scene.lbctl(&["explain", "/", "-o", form]).done();
        let steers =
            |letter: char| letter.is_control() && letter != '\n' && letter != '\t' || letter == '\u{202e}';
        assert!(!said.out.contains(steers) && said.out.contains("<b>"), "{form}: {:?}", said.out);
    }
}
