// SPDX-License-Identifier: Apache-2.0
//! `lbctl discovery`: where members come from, what is held, why a list is not taken.

use server_tests::lbctl::Ended;
use server_tests::{Backend, Httpd, wait_until};

use crate::SOON;

fn list(backends: &[&Backend]) -> String {
    let entry = |one: &&Backend| {
        format!("{{\"targets\":[\"127.0.0.1:{}\"],\"labels\":{{\"name\":\"{}\"}}}}", one.port(), one.name())
    };
    format!("[{}]", backends.iter().map(entry).collect::<Vec<_>>().join(","))
}

/// The row of the only source, by the names of its columns.
fn row(said: &Ended, column: &str) -> String {
    let mut lines = said.out.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let (head, cells) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let at = head.iter().position(|name| *name == column);
    at.and_then(|at| cells.get(at)).unwrap_or_else(|| panic!("no {column}: {said:?}")).to_string()
}

fn shown(httpd: &Httpd) -> Ended {
    httpd.lbctl(&["discovery", "-o", "plain"]).done()
}

fn wait_for_state(httpd: &Httpd, state: &str) -> Ended {
    wait_until(&format!("the source to be {state}"), SOON, || row(&shown(httpd), "state") == state);
    shown(httpd)
}

#[test]
fn sources_are_shown_looked_at_and_taken() {
    let backends = Backend::named(["a", "b", "c"]);
    let [a, b, c] = &backends;
    let httpd = Httpd::builder()
        .with_member_states()
        .file("lists/app.json", &list(&[a, b, c]))
        .config(
            "<LuaBalancerPool app>\n  LuaBalancerDiscovery file:lists/app.json drain=0\n</LuaBalancerPool>",
        )
        .config("ProxyPass /app lb://app")
        .start();
    wait_until("the list", SOON, || row(&shown(&httpd), "members") == "3");
    let fine = wait_for_state(&httpd, "ok");
    assert_eq!(
        ["pool", "source", "listed", "held", "last_error"].map(|key| row(&fine, key)),
        ["app", "file-1", "3", "-", "-"]
    );
    assert!(
        row(&fine, "where").starts_with("file:") && row(&fine, "where").ends_with("lists/app.json"),
        "{fine:?}"
    );
    let nothing = httpd.lbctl(&["discovery", "--accept", "app/file-1"]);
    assert!(nothing.code == 3 && nothing.err.contains("held"), "{nothing:?}");

    httpd.write("lists/app.json", "[]");
    let held = wait_for_state(&httpd, "held");
    assert_eq!([row(&held, "held"), row(&held, "members")], ["empty: a b c", "3"]);
    let table = httpd.lbctl(&["discovery"]).done().out;
    assert!(table.contains("\napp/file-1: its list is held (empty) since 20"), "{table}");
    assert!(table.contains("without a b c\n  lbctl discovery --accept app/file-1 takes it\n"), "{table}");
    let accepted = httpd.lbctl(&["discovery", "--accept", "APP/file-1", "-o", "plain"]).done();
    assert_eq!(row(&accepted, "source"), "file-1", "{accepted:?}");
    wait_until("what was held to hold", SOON, || {
        let said = shown(&httpd);
        [row(&said, "state"), row(&said, "members")] == ["ok", "0"]
    });
    assert!(httpd.members("app").is_empty());

    httpd.write("lists/app.json", &list(&[a]));
    wait_until("a to be back", SOON, || row(&shown(&httpd), "members") == "1");
    httpd.write("lists/app.json", "[{");
    let looked = httpd.lbctl(&["discovery", "--refresh", "app/file-1", "-o", "plain"]).done();
    assert_eq!(row(&looked, "source"), "file-1", "{looked:?}");
    let stale = wait_for_state(&httpd, "stale");
    assert!(row(&stale, "last_error").starts_with("it is not JSON"), "{stale:?}");
    assert!(row(&stale, "failing_since").starts_with("20") && row(&stale, "members") == "1", "{stale:?}");

    for (source, code, word) in [("app/file-9", 3, "no source file-9"), ("file-1", 2, "POOL/SOURCE")] {
        let said = httpd.lbctl(&["discovery", "--refresh", source]);
        assert!(said.code == code && said.err.contains(word), "{said:?}");
    }
    httpd.assert_no_crash();
}

#[test]
fn shadows_have_a_column_of_how_often_they_agree() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = crate::serving(&a, &b)
        .file("now.lua", "local app = lb.pool('app')\nfunction select(r) return app:member('a') end\n")
        .file(
            "next.lua",
            "local app = lb.pool('app')\nfunction select(r)\n  \
             return app:member(r.uri == '/app/other' and 'b' or 'a')\nend\n",
        )
        .config("LuaHookSelect now.lua\nLuaBalancerShadow next.lua")
        .start();
    for path in ["/app/x", "/app/y", "/app/other"] {
        assert_eq!(httpd.client().get(path).status, 200);
    }
    let agreed = |said: &Ended| {
        let cells = said.out.lines().map(|line| line.split('\t').collect::<Vec<_>>());
        cells.map(|cells| (cells[0].to_owned(), cells[4].to_owned())).collect::<Vec<_>>()
    };
    let says = || agreed(&httpd.lbctl(&["scripts", "-o", "plain"]).done());
    wait_until("all requests to be compared", SOON, || says().iter().any(|(_, cell)| cell == "2/1"));
    let all = says();
    assert_eq!(all[0], ("name".to_owned(), "shadow".to_owned()));
    for (name, cell) in &all[1..] {
        let expected = if name.ends_with("next.lua (shadow)") { "2/1" } else { "-" };
        assert_eq!(cell, expected, "{name}: {all:?}");
    }
}
