// SPDX-License-Identifier: Apache-2.0
//! Many requests with faults coming and going. SOAK_REQUESTS says how many; `make soak` sends a
//! million.

use std::fs;
use std::time::Duration;

use server_tests::{Backend, Httpd, Load, pool, slower, wait_until};

const SOON: Duration = Duration::from_secs(60);
/// Pages that a child touches for the first time do not count as growth.
const ROOM_KIB: u64 = 4096;

const SCRIPT: &str = r#"
local app = lb.pool("app")
function select(r)
  if r:getcookie("beta") then return app:where{name = "b"} end
  r.notes["seen"] = r.uri
  return app:least_connections()
end
function finish(r, result)
  lb.dict("seen"):incr("requests", 1, 0)
end
"#;

/// Anonymous memory of a process of its own, in KiB.
fn private_kib(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("Private_Dirty:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

#[test]
fn the_memory_of_children_stays_flat_while_faults_come_and_go() {
    let requests: usize = std::env::var("SOAK_REQUESTS").ok().and_then(|n| n.parse().ok()).unwrap_or(6000);
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let lines = "LuaBalancerOutlier on failures=3 ejection=200ms\nLuaBalancerSet retries=2 slow_start=1s\n\
                 LuaBalancerSticky cookie=SID\n";
    let members = [(&a, ""), (&b, ""), (&c, "")];
    let httpd = Httpd::builder()
        .with_member_states()
        .file("soak.lua", SCRIPT)
        .config(&pool("app", &members, lines))
        .config("LuaBalancerDict seen 1M\nLuaHookTranslate soak.lua select\nLuaHookFinish soak.lua finish")
        .start();
    let load = Load::start(httpd.port(), "/app/", 6);
    let steps = (requests / 10).max(100);
    load.wait_for(steps);
    let children = httpd.wait_for_children(2);
    let before: Vec<u64> = children.iter().map(|pid| private_kib(*pid)).collect();
    for step in 0..9 {
        match step % 4 {
            0 => c.refuse(),
            1 => {
                c.answer();
                b.reset_kept_alive();
            }
            2 => {
                b.answer();
                httpd.write("soak.lua", &format!("{SCRIPT}-- {step}\n"));
            }
            _ => a.half_header(),
        }
        load.wait_for(steps);
        for backend in [&a, &b, &c] {
            backend.answer();
        }
        // One member at a time: of three that fail at once, a request may meet them all.
        wait_until("all members to be up", SOON, || {
            httpd.members("app").values().all(|member| member.state == "up")
        });
    }
    let tally = load.stop();
    wait_until("nothing in flight", SOON, || httpd.inflight("app") == 0);
    assert_eq!(httpd.children(), children, "a child ended: {}", httpd.error_log());
    let after: Vec<u64> = children.iter().map(|pid| private_kib(*pid)).collect();
    println!(
        "{} requests, statuses {:?}; KiB of each child before {before:?}, after {after:?}",
        tally.responses(),
        tally.statuses
    );
    for (before, after) in before.iter().zip(&after) {
        assert!(
            slower() > 1 || *after <= before + ROOM_KIB,
            "the memory of a child grew from {before} to {after} KiB"
        );
    }
    assert!(tally.errors.is_empty(), "{:?}", tally.errors.first());
    assert!(tally.statuses.keys().all(|status| *status == 200), "{:?}", tally.statuses);
    httpd.assert_no_crash();
}
