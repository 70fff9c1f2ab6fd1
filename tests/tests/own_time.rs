// SPDX-License-Identifier: Apache-2.0
//! `time=` is what a call uses of the processor: on a machine that others keep busy a short call
//! stays a short one.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use server_tests::{Backend, Httpd, Mpm, on_every_mpm, pool};

/// Computes some 15 ms, wherever it runs, and tells how long it took by the processor's clock.
const SCRIPT: &str = "local rounds = 1e5\n\
    local function work() local x = 0 for i = 1, rounds do x = x + i end end\n\
    function short(r)\n\
      if r.uri == '/long' then while true do end end\n\
      local from = os.clock()\n\
      while os.clock() - from < 0.015 do work() end\n\
      return lb.pool('app'):round_robin()\n\
    end";

/// Lets a process run a tenth of the time while `f` does its work.
fn overloaded(httpd: &Httpd, pid: u32, f: impl FnOnce()) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                httpd.signal(pid, Signal::SIGSTOP);
                thread::sleep(Duration::from_millis(45));
                httpd.signal(pid, Signal::SIGCONT);
                thread::sleep(Duration::from_millis(5));
            }
        });
        // However it ends, the other thread does.
        let result = catch_unwind(AssertUnwindSafe(f));
        over.store(true, Ordering::Relaxed);
        if let Err(panic) = result {
            resume_unwind(panic);
        }
    });
    httpd.signal(pid, Signal::SIGCONT);
}

on_every_mpm!(a_short_call_is_not_stopped_where_its_child_gets_a_tenth_of_the_processor);

fn a_short_call_is_not_stopped_where_its_child_gets_a_tenth_of_the_processor(mpm: Mpm) {
    let a = Backend::new("a");
    let httpd = Httpd::builder()
        .mpm(mpm)
        .children(1)
        .threads(2)
        .config(&pool("app", &[(&a, "")], ""))
        .file("pick.lua", SCRIPT)
        .config("LuaHookTranslate pick.lua short")
        .start();
    let mut client = httpd.client();
    assert_eq!(client.get("/warm").status, 200);
    let pid = httpd.wait_for_children(1)[0];
    overloaded(&httpd, pid, || {
        for nth in 0..10 {
            let response = client.get(&format!("/x/{nth}"));
            assert_eq!(response.status, 200, "request {nth}: {}", httpd.error_log());
        }
        assert_eq!(client.get("/long").status, 500, "an endless one");
    });
    assert_eq!(client.get("/after").status, 200);
    httpd.assert_no_crash();
}
