// SPDX-License-Identifier: Apache-2.0
//! The memory that requests leave behind in a child, in bytes: memcheck adds up the blocks in use
//! when a child ends, after some requests and after three times as many.

use std::fs;
use std::process::Command;

use server_tests::{Backend, Builder, Client, Httpd, Mpm, Request, pool};

/// Rounds of [`one_round`].
const FEW: usize = 180;
/// Requests of a round.
const KINDS: usize = 7;
const MANY: usize = 3 * FEW;

/// In use at the end may be so much more: collectors of garbage are at another point.
const ROOM: u64 = 64 << 10;

const SCRIPT: &str = r#"
local app = lb.pool("app")
function select(r)
  if r:getcookie("beta") then return app:where{name = "b"} end
  r.notes["seen"] = r.uri
  lb.dict("seen"):incr(r.uri, 1, 0)
  if r.uri:find("refused") then return nil, "not today" end
  if r.uri:find("wrong") then error("on purpose") end
  return app:least_connections()
end
function finish(r, result)
  lb.dict("seen"):set("last", result.member or "nobody")
end
"#;

/// The report of memcheck on a process that has ended, in bytes.
#[derive(Debug)]
struct Heap {
    in_use: u64,
    definitely_lost: u64,
    indirectly_lost: u64,
    allocations: u64,
}

impl Heap {
    fn read(log: &str) -> Heap {
        let number = |after: &str| -> Option<u64> {
            let rest = log.split(after).nth(1)?;
            let digits: String =
                rest.trim_start().chars().take_while(|c| c.is_ascii_digit() || *c == ',').collect();
            digits.replace(',', "").parse().ok()
        };
        // memcheck leaves out kinds of blocks that there are none of: then everything was freed.
        let lost = |what: &str| number(what).unwrap_or(0);
        Heap {
            in_use: number("in use at exit:").unwrap_or_else(|| panic!("no summary in:\n{log}")),
            definitely_lost: lost("definitely lost:"),
            indirectly_lost: lost("indirectly lost:"),
            allocations: lost("total heap usage:"),
        }
    }
}

/// Requests of most kinds, with a new connection now and then.
fn one_round(client: &mut Client, round: usize) {
    let kinds: [(Request, u16); KINDS] = [
        (Request::get("/lb/x"), 200),
        (Request::get("/script/x"), 200),
        (Request::get("/script/x").header("Cookie", "beta=1; SID=x.b"), 200),
        (Request::post("/lb/x", vec![b'x'; 3000]), 200),
        (Request::get("/lb/x").header("Cookie", "SID=y.c"), 200),
        (Request::get("/script/refused"), 503),
        (Request::get("/script/wrong"), 500),
    ];
    for (request, status) in kinds {
        assert_eq!(client.send(&request).status, status, "{request:?}");
    }
    if round % 10 == 9 {
        client.disconnect();
    }
}

/// The heap of the one child after so many rounds.
fn heap_after(configure: &dyn Fn(Builder) -> Builder, rounds: usize) -> Heap {
    let builder = Httpd::builder();
    let logs = builder.open_folder("memcheck");
    let wrapper = format!(
        "valgrind --leak-check=full --trace-children=yes --child-silent-after-fork=no --vgdb=no --log-file={}/%p",
        logs.display()
    );
    let mut httpd = configure(builder.children(1).under(&wrapper)).start();
    let child = httpd.wait_for_children(1)[0];
    // It has made its state by then.
    httpd.wait_for_log(r"\bleads\b");
    let mut client = httpd.client();
    for round in 0..rounds {
        one_round(&mut client, round);
    }
    drop(client);
    assert_eq!(httpd.children(), [child], "{}", httpd.error_log());
    httpd.stop();
    Heap::read(&fs::read_to_string(logs.join(child.to_string())).expect("the child's log"))
}

#[test]
fn requests_leave_no_memory_behind() {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("SKIPPED: valgrind is not installed");
        return;
    }
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    c.refuse();
    let members = pool(
        "app",
        &[(&a, ""), (&b, ""), (&c, "")],
        "LuaBalancerOutlier off\nLuaBalancerSticky cookie=SID\nLuaBalancerSet retries=2",
    );
    let configure = |builder: Builder| {
        builder
            .mpm(Mpm::Prefork)
            .threads(1)
            .file("leaks.lua", SCRIPT)
            .config(&members)
            .config("LuaBalancerDict seen 64K\nProxyPass /lb lb://app\nLuaHookFinish leaks.lua finish")
            .config("<Location /script>\n  LuaHookTranslate leaks.lua select\n</Location>")
    };
    let [few, many] = [FEW, MANY].map(|rounds| heap_after(&configure, rounds));
    println!("{} requests: {few:?}\n{} requests: {many:?}", FEW * KINDS, MANY * KINDS);
    assert!(many.allocations > few.allocations + FEW as u64, "nothing was counted");
    // A child loses some words at its end, whatever it has done; one block a round would be far
    // more.
    let lost = |heap: &Heap| heap.definitely_lost + heap.indirectly_lost;
    assert!(
        lost(&many) < lost(&few) + 4 * (MANY - FEW) as u64,
        "{} bytes lost, then {}",
        lost(&few),
        lost(&many)
    );
    assert!(many.in_use <= few.in_use + ROOM, "{} bytes in use, then {}", few.in_use, many.in_use);
}
