// SPDX-License-Identifier: Apache-2.0
//! While the server runs: saves, ends, and what is stuck.

use super::*;

on_every_mpm!(a_saved_script_that_hangs_holds_up_nothing);

fn a_saved_script_that_hangs_holds_up_nothing(mpm: Mpm) {
    let backend = server_tests::Backend::named(["a"]);
    let check = "LuaBalancerHealthCheck http uri=/health interval=100ms";
    let httpd = versioned(mpm)
        .file("other.lua", &version(1))
        .file("tick.lua", "function tick() print('the timer ticks') end")
        .config("<Location /o>\n  LuaHookTranslate other.lua\n  Header always set X-Backend \"%{VERSION}e\"\n</Location>")
        .config("LuaBalancerTimer tick.lua tick every=100ms\nLuaBalancerSandbox off")
        .config(&pool("app", &[(&backend[0], "")], check))
        .start();
    httpd.wait_for_log("the timer ticks");
    // One in C, one in Lua: twice, since the first verdict is not to be the last one.
    for round in 1..=2 {
        httpd.write("pick.lua", &waits(&format!("6{round}")));
        wait_until("a worker that vets", SOON, || httpd.vetting_processes().len() >= 2);
        let (start, ticks, checks) =
            (Instant::now(), httpd.count_log("the timer ticks"), backend[0].health_checks());
        let wanted = (round + 1).to_string();
        httpd.write("other.lua", &version(round + 1));
        wait_until("another saved script", SOON, || httpd.client().get("/o").backend() == wanted);
        let took = start.elapsed();
        assert!(took < patience(Duration::from_secs(2)), "the other script took {took:?}");
        let refused = format!(r"lua_balancer:error.*pick\.lua:2: {NOT_FINISHED}.*not taken");
        let lines = httpd.wait_for_log_lines(&refused, usize::from(round));
        assert_eq!(lines.len(), usize::from(round), "{lines:?}");
        assert!(httpd.count_log("the timer ticks") > ticks + 10, "timers stood still");
        assert!(backend[0].health_checks() > checks + 10, "checks stood still");
        assert_eq!(httpd.count_log("leads: it runs checks"), 1, "the lead was lost");
        assert_eq!(served(&httpd), "1");
        wait_until("nothing to be left of it", SOON, || httpd.vetting_processes().len() == 1);
    }
    httpd.write("pick.lua", &version(4));
    wait_until("the next save", SOON, || served(&httpd) == "4");
    assert_eq!(httpd.count_log(NOT_FINISHED), 2, "a refused version was vetted again");
    httpd.assert_no_crash();
}

on_every_mpm!(vetting_goes_on_after_its_processes_were_killed);

fn vetting_goes_on_after_its_processes_were_killed(mpm: Mpm) {
    let mut httpd = versioned(mpm).config("LuaBalancerSandbox off").start();
    let killed_worker = |httpd: &Httpd, seconds: &str| {
        httpd.write("pick.lua", &waits(seconds));
        wait_until("a worker", SOON, || !server_and_workers(httpd).1.is_empty());
        server_and_workers(httpd)
    };
    let (_, workers) = killed_worker(&httpd, "61");
    workers.iter().for_each(|pid| kill(*pid));
    httpd.wait_for_log(r"lua_balancer:error.*pick\.lua.*ended by signal 9.*not taken");
    httpd.write("pick.lua", &version(2));
    wait_until("the next save", SOON, || served(&httpd) == "2");

    let (server, _) = killed_worker(&httpd, "62");
    kill(server.expect("a server"));
    httpd.wait_for_log("another one takes its place");
    wait_until("another server", SOON, || {
        server_and_workers(&httpd).0.is_some_and(|pid| Some(pid) != server)
    });
    httpd.write("pick.lua", &version(3));
    wait_until("a save after that", SOON, || served(&httpd) == "3");
    assert_eq!(httpd.count_log("long lost child|exit signal Segmentation"), 0);
    httpd.graceful();
    httpd.write("pick.lua", &version(4));
    wait_until("a save after a restart", SOON, || served(&httpd) == "4");
    let (took, status) = httpd.stop();
    assert!(status.success() && took < patience(Duration::from_secs(3)), "{took:?} {status}");
}

#[test]
fn a_top_level_that_ends_its_process_ends_nothing_else() {
    let mut httpd = versioned(Mpm::Event).config("LuaBalancerSandbox off").start();
    // 15 is what httpd's children end with to end the whole server.
    let cases = [
        ("os.exit(15)", r"ended with code 15|attempt to call a nil value \(field 'exit'\)"),
        ("os.execute('kill -9 $PPID')", "ended by signal 9"),
        ("os.execute('kill -TERM 0') while true do end", "ended by signal 15|not finished"),
    ];
    for (n, (code, pattern)) in cases.iter().enumerate() {
        httpd.write("pick.lua", &format!("{code}\n{}", version(9)));
        let lines = httpd.wait_for_log_lines(r"lua_balancer:error.*pick\.lua.*not taken", n + 1);
        let regex = regex::Regex::new(pattern).expect("a pattern");
        assert!(regex.is_match(&lines[n]), "{code}: {}", lines[n]);
        assert_eq!(served(&httpd), "1");
    }
    httpd.write("pick.lua", &version(2));
    wait_until("the next save", SOON, || served(&httpd) == "2");
    httpd.graceful();
    assert_eq!(served(&httpd), "2");
}

#[test]
fn the_resources_of_a_vetting_process_are_bounded() {
    let limits = "local out = {}\n\
        for line in io.popen('for k in v t n f c; do echo $k=$(ulimit -$k); done; ls /proc/self/fd | wc -l'):lines() do out[#out + 1] = line end\n\
        error(table.concat(out, ' '))";
    let builder =
        Httpd::builder().file("bad.lua", limits).config("LuaHookTranslate bad.lua\nLuaBalancerSandbox off");
    let test = builder.configtest();
    // Memory in KiB (what httpd has mapped, and 272 MiB), seconds, descriptors, no files, no cores;
    // ls and its pipe have four descriptors and the folder.
    assert!(test.says(r"v=[0-9]{4,7} t=6 n=64 f=0 c=0 [45]\b"), "{}", test.output);

    let hog = "local all = {}\nfor i = 1, 1e9 do all[i] = ('x'):rep(1000) .. i end";
    let builder = Httpd::builder()
        .file("bad.lua", hog)
        .config("LuaHookTranslate bad.lua\nLuaBalancerScriptLimit memory=4000M");
    let (test, took) = timed_configtest(builder);
    refused("a memory hog", &test, took, &[r"bad\.lua"]);
}

#[test]
fn processes_that_a_top_level_has_started_end_with_it() {
    let name = format!("29.{}", std::process::id());
    let left = || {
        let all = fs::read_dir("/proc").expect("/proc").flatten();
        let words = |entry: fs::DirEntry| fs::read(entry.path().join("cmdline")).unwrap_or_default();
        all.map(words).filter(|words| String::from_utf8_lossy(words).contains(&name)).count()
    };
    let text = format!(
        "local n = 0\n\
         for i = 1, 100 do\n\
           os.execute('setsid sleep {name} > /dev/null 2>&1 &')\n\
           io.popen('sleep {name}')\n\
         end\nerror('all are started')"
    );
    let httpd = versioned(Mpm::Event).config("LuaBalancerSandbox off").start();
    httpd.write("pick.lua", &text);
    let mut most = 0;
    wait_until("the verdict", SOON, || {
        most = most.max(left());
        httpd.count_log(r"pick\.lua.*not taken") > 0
    });
    assert!(most <= 64, "{most} processes at once");
    wait_until("nothing to be left of it", Duration::from_secs(5), || left() == 0);
    httpd.write("pick.lua", &version(3));
    wait_until("the next save", SOON, || served(&httpd) == "3");
    assert_eq!(httpd.vetting_processes().len(), 1);
}

#[test]
fn vetting_writes_into_no_dictionary() {
    let reads = "function translate(r) local d = lb.dict('d') r.subprocess_env.VERSION = tostring(d:get('k')) return 204 end";
    let httpd = versioned(Mpm::Event).file("pick.lua", reads).config("LuaBalancerDict d 1M").start();
    assert_eq!(served(&httpd), "nil");
    let writes = "local d = lb.dict('d')\nd:set('k', 'written')\nassert(d:get('k') == 'written' and d:incr('n', 1, 0) == 1)\nerror('not good')";
    httpd.write("pick.lua", writes);
    httpd.wait_for_log(r"pick\.lua:4: not good");
    assert_eq!(served(&httpd), "nil");
}

#[test]
fn lines_that_a_top_level_logs_come_through_and_are_bounded() {
    let httpd = versioned(Mpm::Event).start();
    httpd.write(
        "pick.lua",
        "lb.log('warn', 'a warning of the top level')\nfor i = 1, 900 do print('flood') end\nerror('no')",
    );
    httpd.wait_for_log(r"pick\.lua:3: no");
    assert_eq!(httpd.count_log(r"lua_balancer:warn.*a warning of the top level"), 1);
    let lines = httpd.count_log("flood");
    assert!((50..=100).contains(&lines), "{lines} lines");
    assert_eq!(httpd.count_log("logs more lines, left out"), 1);
}

#[test]
fn fifty_restarts_leave_no_process_no_zombie_and_no_descriptor() {
    let mut httpd = versioned(Mpm::Event)
        .file("two.lua", &version(1))
        .config("<Location /2>\n  LuaHookTranslate two.lua\n</Location>")
        .start();
    httpd.graceful();
    let (before, _) = descriptors_and_zombies(&httpd);
    for n in 0..50 {
        if n % 10 == 9 {
            httpd.restart()
        } else {
            httpd.graceful()
        }
        assert_eq!(served(&httpd), "1");
    }
    wait_until("old children to end", SOON, || httpd.children().len() <= 3);
    wait_until("no zombie", SOON, || descriptors_and_zombies(&httpd).1 == 0);
    let (after, _) = descriptors_and_zombies(&httpd);
    assert!(after <= before + 1, "{before} descriptors before, {after} after");
    assert_eq!(httpd.vetting_processes().len(), 1);
    assert_eq!(httpd.count_log("long lost child"), 0);
}

on_every_mpm!(a_stop_does_not_wait_for_vetting);

fn a_stop_does_not_wait_for_vetting(mpm: Mpm) {
    let mut httpd = versioned(mpm).config("LuaBalancerSandbox off").start();
    httpd.write("pick.lua", &waits("63"));
    wait_until("a worker", SOON, || httpd.vetting_processes().len() >= 2);
    let all = httpd.vetting_processes();
    let (took, status) = httpd.stop();
    assert!(status.success() && took < patience(Duration::from_millis(1500)), "{took:?} {status}");
    let lives =
        |pid: &u32| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    wait_until("nothing to be left", SOON, || !all.iter().any(lives));
}

#[test]
fn vetting_ends_with_a_parent_that_is_killed() {
    let httpd = versioned(Mpm::Event).config("LuaBalancerSandbox off").start();
    httpd.write("pick.lua", &waits("64"));
    wait_until("a worker", SOON, || httpd.vetting_processes().len() >= 2);
    let all = httpd.vetting_processes();
    kill(httpd.pid());
    let lives =
        |pid: &u32| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    wait_until("nothing to be left", SOON, || !all.iter().any(lives));
}

#[test]
fn twenty_long_scripts_start_quickly() {
    let long: String = (0..1000)
        .map(|n| format!("local function f{}(x) return x * {n} + #tostring(x) end\n", n % 150))
        .collect();
    // Lua allows 200 locals in a function.
    let long: String = long.lines().map(|line| format!("do {line} end\n")).collect();
    let mut builder = Httpd::builder();
    for n in 0..20 {
        builder = builder.file(&format!("long-{n}.lua"), &format!("{long}{}", version(1)));
        builder = builder.config(&format!("<Location /{n}>\n  LuaHookTranslate long-{n}.lua\n</Location>"));
    }
    let start = Instant::now();
    let httpd = builder.start();
    let took = start.elapsed();
    println!("a start with twenty scripts of 1,000 lines took {took:?}");
    assert!(took < patience(Duration::from_secs(4)), "{took:?}");
    assert_eq!(httpd.client().get("/7").status, 204);
}

on_every_mpm!(a_version_that_is_stuck_in_c_is_not_called_again_until_it_is_saved);

fn a_version_that_is_stuck_in_c_is_not_called_again_until_it_is_saved(mpm: Mpm) {
    let Some(builder) = with_faults(mpm) else { return };
    let script = |answer: u16| format!("function translate(r) r:err('is called') return {answer} end");
    let mut httpd = builder
        .file("pick.lua", &script(204))
        .config("<Location /v>\n  LuaHookTranslate pick.lua\n</Location>")
        .config("<Location /d>\n  LuaHookTranslate pick.lua\n  LuaBalancerOnError decline\n</Location>")
        .file("htdocs/d/file", "a file")
        .start();
    assert_eq!(httpd.client().get("/v").status, 204);
    httpd.fault("script_naps");
    let port = httpd.port();
    let request = Request::get("/v").header("Connection", "close").to_bytes();
    let waiting = thread::spawn(move || server_tests::client::raw_exchange(port, &request, SOON));
    httpd.wait_for_log(STUCK);
    httpd.fault("");
    // All children know it by now, or a fifth of a second later.
    wait_until("a 500 of every child", SOON, || (0..20).all(|_| httpd.client().get("/v").status == 500));
    waiting.join().expect("a thread").expect("an answer");
    let calls = httpd.count_log("is called");
    for _ in 0..20 {
        assert_eq!(httpd.client().get("/v").status, 500);
        assert_eq!(httpd.client().get("/d/file").status, 200);
    }
    assert_eq!(httpd.count_log("is called"), calls, "the version was called again");
    // Also in children of another generation.
    httpd.graceful();
    wait_until("a 500 of new children", SOON, || (0..20).all(|_| httpd.client().get("/v").status == 500));
    httpd.write("pick.lua", &script(205));
    wait_until("the version that was saved", SOON, || {
        (0..20).all(|_| httpd.client().get("/v").status == 205)
    });
    wait_until("it in the other section", SOON, || httpd.client().get("/d/file").status == 205);
    assert_eq!(httpd.count_log(STUCK), 1, "{}", httpd.error_log());
    httpd.assert_no_crash();
}

#[test]
fn a_child_that_was_stopped_puts_no_version_into_quarantine() {
    let httpd = Httpd::builder()
        .children(1)
        .file(
            "pick.lua",
            "function translate(r) local t = os.clock() while os.clock() - t < 0.04 do end return 204 end",
        )
        .config("<Location /v>\n  LuaHookTranslate pick.lua\n</Location>\nLuaBalancerScriptLimit time=1s")
        .start();
    let child = httpd.children()[0];
    let load = server_tests::Load::start(httpd.port(), "/v", 6);
    load.wait_for(20);
    httpd.signal(child, Signal::SIGSTOP);
    thread::sleep(Duration::from_secs(4));
    httpd.signal(child, Signal::SIGCONT);
    thread::sleep(Duration::from_secs(2));
    drop(load.stop());
    assert_eq!(httpd.client().get("/v").status, 204);
    assert_eq!(httpd.count_log("stuck in C"), 0, "{}", httpd.error_log());
}

#[test]
fn timers_and_checks_go_on_when_one_is_stuck_in_c() {
    let Some(builder) = with_faults(Mpm::Event) else { return };
    let httpd = builder
        .file("pick.lua", "function tick() print('a stuck tick') end")
        .file("other.lua", "function tick() lb.dict('d'):incr('n', 1, 0) end\nfunction translate(r) r.subprocess_env.VERSION = tostring(lb.dict('d'):get('n')) return 204 end")
        .config("LuaBalancerDict d 1M\nLuaBalancerTimer pick.lua tick every=100ms\nLuaBalancerTimer other.lua tick every=100ms")
        .config("<Location /v>\n  LuaHookTranslate other.lua\n  Header always set X-Backend \"%{VERSION}e\"\n</Location>")
        .start();
    let ticks = || served(&httpd).parse::<u32>().unwrap_or(0);
    wait_until("the other timer", SOON, || ticks() > 3);
    httpd.fault("script_sleeps");
    httpd.wait_for_log(STUCK);
    httpd.fault("");
    let (stuck, before) = (httpd.count_log("a stuck tick"), ticks());
    wait_until("the other timer to go on", SOON, || ticks() > before + 20);
    assert!(httpd.count_log("a stuck tick") <= stuck + 1, "the version was called again");
    assert_eq!(httpd.count_log("leads: it runs checks"), 1, "the lead was lost");
    httpd.write("pick.lua", "function tick() print('a new tick') end");
    httpd.wait_for_log_lines("a new tick", 5);
    assert_eq!(httpd.count_log(STUCK), 1);
}
