// SPDX-License-Identifier: Apache-2.0
//! At starts, restarts and `configtest`.

use super::*;

#[test]
fn configtest_refuses_what_does_not_end_with_file_and_line() {
    let threads = endless().into_iter().map(|(name, code)| {
        thread::spawn(move || {
            let text = format!("local a = 1\n{code}\n{}", version(1));
            let builder = Httpd::builder().file("bad.lua", &text).config("LuaHookTranslate bad.lua");
            let (test, took) = timed_configtest(builder);
            refused(name, &test, took, &[r"bad\.lua:2"]);
        })
    });
    threads.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().expect("refused"));
}

#[test]
fn a_script_that_waits_in_c_is_killed_after_its_time_and_its_line_is_named() {
    let builder = Httpd::builder()
        .file("bad.lua", &waits("60"))
        .config("LuaHookTranslate bad.lua\nLuaBalancerSandbox off");
    let (test, took) = timed_configtest(builder);
    refused("a wait", &test, took, &[&format!(r"bad\.lua:2: {NOT_FINISHED}")]);
    assert!(took > Duration::from_millis(4500), "{took:?}");
}

#[test]
fn all_scripts_of_a_configuration_together_have_ten_seconds() {
    let mut builder = Httpd::builder().config("LuaBalancerSandbox off");
    for n in 0..20 {
        builder = builder.file(&format!("bad-{n}.lua"), &waits("60"));
        builder = builder.config(&format!("<Location /{n}>\n  LuaHookTranslate bad-{n}.lua\n</Location>"));
    }
    let (test, took) = timed_configtest(builder);
    assert!(!test.ok && took < patience(Duration::from_secs(16)), "{took:?}: {}", test.output);
    for n in 0..20 {
        assert!(test.says(&format!(r"bad-{n}\.lua")), "{}", test.output);
    }
    assert!(test.says("more than 10 s together"), "{}", test.output);
}

#[test]
fn configtest_waits_for_no_fifo_and_no_device() {
    let builder = Httpd::builder().config("LuaHookTranslate pipe.lua");
    nix::unistd::mkfifo(&builder.dir().join("pipe.lua"), nix::sys::stat::Mode::from_bits_truncate(0o644))
        .expect("a fifo");
    let (test, took) = timed_configtest(builder);
    refused("a fifo", &test, took, &[r"pipe\.lua.*not a file"]);
    for module in ["kmsg", "self/pagemap", "kcore"] {
        let text = format!("package.path = '/proc/?'\nlocal x = require '{module}'\n{}", version(1));
        let builder = Httpd::builder().file("bad.lua", &text).config("LuaHookTranslate bad.lua");
        let (test, took) = timed_configtest(builder);
        refused(module, &test, took, &[r"bad\.lua|/proc"]);
    }
}

#[test]
fn no_script_reads_what_root_alone_may_read() {
    if !is_root("files of root") {
        return;
    }
    let path = |builder: &Builder| format!("{}/secrets/?.lua", builder.dir().display());
    let builder = Httpd::builder();
    secret(&builder);
    let text = format!("package.path = '{}'\nerror(require 'secret')", path(&builder));
    let test = builder.file("bad.lua", &text).config("LuaHookTranslate bad.lua").configtest();
    assert!(!test.ok && !test.says("the word of root"), "{}", test.output);

    let builder = Httpd::builder();
    secret(&builder);
    let folder = path(&builder);
    let text = "error(require 'secret')";
    let builder = builder.file("bad.lua", text).config(&format!("LuaBalancerPackagePath {folder}"));
    let test = builder.config("LuaHookTranslate bad.lua").configtest();
    assert!(!test.ok && !test.says("the word of root"), "{}", test.output);
    assert!(test.says(r"secret\.lua: cannot be read: .*rights of .*chgrp"), "{}", test.output);

    // A script itself.
    let builder = Httpd::builder().file("own.lua", &version(1)).config("LuaHookTranslate own.lua");
    fs::set_permissions(builder.dir().join("own.lua"), fs::Permissions::from_mode(0o600)).expect("a mode");
    let test = builder.configtest();
    assert!(!test.ok && test.says(r"own\.lua: cannot be read: .*rights of .*chgrp"), "{}", test.output);
}

on_every_mpm!(no_top_level_runs_as_root);

fn no_top_level_runs_as_root(mpm: Mpm) {
    if !is_root("who runs a top level") {
        return;
    }
    // Told by what it does: at configtest, at the start, and when saved.
    let text = "\
        local id = io.popen('id -u; id -G'):read('a'):gsub('\\n', ' ')\n\
        local wrote = io.open('DIR/written', 'w') and 'wrote' or 'did not write'\n\
        local removed = os.remove('DIR/httpd.conf') and 'removed' or 'did not remove'\n\
        print('runs as ' .. id .. wrote .. ', ' .. removed)\n";
    let builder = versioned(mpm).config("LuaBalancerSandbox off");
    let text = text.replace("DIR", &builder.dir().display().to_string()) + &version(2);
    let mut httpd = builder.file("pick.lua", &text).start();
    let good = r"runs as [1-9][0-9]* [1-9][0-9 ]*did not write, did not remove";
    httpd.wait_for_log(good);
    httpd.write("pick.lua", &(text.clone() + "\n"));
    httpd.wait_for_log("version 2 is in service");
    httpd.write("pick.lua", &(text + "\n\n"));
    httpd.graceful();
    // Of one reading: children of the new generation still write.
    let log = httpd.error_log();
    let expected = regex::Regex::new(good).expect("a pattern");
    assert!(log.lines().filter(|line| line.contains("runs as")).all(|line| expected.is_match(line)), "{log}");
    assert_eq!(served(&httpd), "2");
}

on_every_mpm!(a_restart_goes_on_when_a_top_level_hangs);

fn a_restart_goes_on_when_a_top_level_hangs(mpm: Mpm) {
    let mut httpd = versioned(mpm).config("LuaBalancerSandbox off\nLuaBalancerCodeCache forever").start();
    httpd.write("pick.lua", &waits("60"));
    for n in 1..=2 {
        let start = Instant::now();
        if n == 1 {
            httpd.graceful()
        } else {
            httpd.restart()
        }
        let took = start.elapsed();
        assert!(took < patience(A_VETTING), "{took:?}");
        assert_eq!(httpd.count_log(&format!(r"lua_balancer:error.*pick\.lua:2: {NOT_FINISHED}")), n);
        assert_eq!(served(&httpd), "1");
    }
    httpd.write("pick.lua", &version(3));
    httpd.graceful();
    assert_eq!(served(&httpd), "3");
}

#[test]
fn a_start_with_a_top_level_that_hangs_is_refused() {
    let start = Instant::now();
    let builder = versioned(Mpm::Event).config("LuaBalancerSandbox off").file("pick.lua", &waits("60"));
    let said = builder.try_start().map(drop).expect_err("refused");
    assert!(start.elapsed() < patience(A_VETTING), "{:?}", start.elapsed());
    assert!(said.contains("pick.lua:2: not finished after 5 s"), "{said}");
}
