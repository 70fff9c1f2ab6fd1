// SPDX-License-Identifier: Apache-2.0
//! `lbctl simulate` over logs that something is wrong with.

use std::io::Write as _;

use crate::simulate::{folder, json, log, simulate};

/// A text, packed.
fn packed(text: &str) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap()
}

#[test]
fn times_that_cannot_be_used_are_counted_and_the_first_line_is_named() {
    let folder = folder();
    let times = ["0.02", "86401", "-1", "\"x\"", "null", "true", "\"-\"", "1e300"];
    let line =
        |time: &&str| format!("{{\"time\":\"2026-11-30T14:00:00Z\",\"path\":\"/\",\"seconds\":{time}}}\n");
    folder.write("odd.log", times.iter().map(line).collect::<String>());
    let said = simulate(&folder, &["--json", "odd.log"]).done();
    let document = json(&said);
    assert_eq!((&document["odd_times"], &document["requests"]), (&5.into(), &8.into()), "{document}");
    assert_eq!(document["odd_times_examples"][0], "odd.log:2: seconds is '86401', more than a day");
    let told = "lbctl: 5 of 8 lines have a time that cannot be used: it is drawn (--service); the first is \
                odd.log:2: seconds is '86401', more than a day\n";
    assert_eq!(said.err, told);
    assert_eq!(simulate(&folder, &["odd.log"]).done().err, told);

    let line = |time: &str| format!("[30/Nov/2026:14:00:00 +0000] \"GET / HTTP/1.1\" {time}\n");
    folder.write("odd.log", ["20", "-", "-20", "99999999999999", "5s"].map(line).concat());
    let document = json(&simulate(&folder, &["--json", "--log-format", "%t \"%r\" %D", "odd.log"]).done());
    let why =
        ["%D is '-20', less than 0", "%D is '99999999999999', more than a day", "%D is '5s', not a number"];
    let named: Vec<String> =
        why.iter().zip(3..).map(|(why, line)| format!("odd.log:{line}: {why}")).collect();
    assert_eq!(document["odd_times_examples"], serde_json::json!(named));
}

#[test]
fn the_line_at_which_a_packed_log_ends_too_early_is_named() {
    let folder = folder();
    let whole = packed(&log(4000));
    let named = |bytes: &[u8]| {
        folder.write("cut.gz", bytes);
        let mut readable = String::new();
        let unpacked = flate2::read::MultiGzDecoder::new(bytes);
        std::io::Read::read_to_string(&mut { unpacked }, &mut readable).unwrap_err();
        let said = simulate(&folder, &["--json", "cut.gz"]).done();
        let wanted = format!("cut.gz:{}: the rest cannot be read: ", readable.matches('\n').count() + 1);
        let told = json(&said)["unread_examples"][0].as_str().unwrap().to_owned();
        assert!(told.starts_with(&wanted), "expected {wanted}, found {told}");
    };
    named(&whole[..whole.len() / 2]);
    named(&whole[..whole.len() - 4]);
    // The second of two that stand behind each other, cut in its text and in its head.
    named(&[&whole[..], &whole[..whole.len() / 3]].concat());
    named(&[&whole[..], &whole[..5]].concat());
    folder.write("head.gz", &whole[..5]);
    let said = simulate(&folder, &["head.gz"]);
    assert!(said.code == 1 && said.err.contains("head.gz:1: the rest cannot be read"), "{}", said.whole());
}

/// 3000 requests, every second of them for /loop.
fn loops(folder: &crate::Folder) {
    folder.write(
        "loop.log",
        log(3000).replace("GET /api/x?y=1 ", "GET /loop ").replace("GET / ", "GET /loop "),
    );
}

#[test]
fn a_script_that_is_stopped_again_and_again_is_not_called_any_more() {
    let folder = folder();
    loops(&folder);
    let said = simulate(&folder, &["--script", "a.lua", "loop.log"]);
    // A busy machine may have stopped another call as well.
    let told = "DIR/a.lua: not called any more after limits had stopped it 2";
    assert!(said.code == 1 && said.out.contains(told), "{}", said.whole());
    assert!(said.out.contains("times: script failed: DIR/a.lua:5: stopped after 50 ms"), "{}", said.whole());
    assert!(!said.out.contains("stuck in C"), "{}", said.whole());
    let said = simulate(&folder, &["--json", "--script", "a.lua", "loop.log"]);
    let document = json(&said);
    let number = |key: &str| document["given_up"][0][key].as_u64().unwrap();
    assert!(said.code == 1 && (20..30).contains(&number("stopped")), "{document}");
    assert!(document["given_up"][0]["why"].as_str().unwrap().contains("stopped after 50 ms"), "{document}");
    // All calls that were not made have the consequence of a failure.
    assert_eq!(document["answered"].as_u64(), Some(number("not_called") + number("stopped")), "{document}");
}

#[test]
fn a_comparison_tells_the_failures_of_both_scripts() {
    let folder = folder();
    loops(&folder);
    folder.write("good.lua", "function select(r) return lb.pool('app') end\n");
    folder.write("bad.lua", "function select(r) error('old and bad') end\n");
    let said = simulate(&folder, &["--script", "good.lua", "--compare", "a.lua", "loop.log"]);
    let told =
        "the script that it is compared with: DIR/a.lua: not called any more after limits had stopped it 2";
    assert!(said.code == 1 && said.out.contains(told), "{}", said.whole());
    let compared = ["--json", "--script", "good.lua", "--compare", "bad.lua", "loop.log"];
    let document = json(&simulate(&folder, &compared).done());
    let before = &document["differences"]["errors_before"];
    assert_eq!(before["script failed: DIR/bad.lua:1: old and bad"], 3000, "{document}");
    assert_eq!(
        (&document["errors"], &document["given_up"]),
        (&serde_json::json!({}), &serde_json::json!([]))
    );
}

#[test]
fn a_method_that_loops_is_given_up_as_well() {
    let folder = folder();
    folder.write("m.lua", "function choose(pool) while true do end end\n");
    let pools = folder
        .read("pools.conf")
        .replace("  LuaBalancerOutlier", "  LuaBalancerMethod lua m.lua choose\n  LuaBalancerOutlier");
    folder.write("pools.conf", pools);
    let document = json(&simulate(&folder, &["--json", "access.log"]));
    assert!(document["given_up"][0]["stopped"].as_u64().is_some_and(|count| count < 30), "{document}");
}

#[test]
fn a_line_without_end_counts_as_one() {
    let folder = folder();
    let long = format!("{}{}\n", log(1).trim_end(), "x".repeat(3 << 20));
    folder.write("long.log", log(1) + &long + &log(1) + "broken\n");
    let document = json(&simulate(&folder, &["--json", "long.log"]).done());
    assert_eq!(
        (&document["lines"], &document["unread"], &document["requests"]),
        (&4.into(), &2.into(), &2.into())
    );
    assert_eq!(document["unread_examples"][0], "long.log:2: longer than 1 MiB");
    assert_eq!(document["unread_examples"][1], "long.log:4: cannot be read: broken");
}

#[test]
fn a_packed_log_may_come_by_standard_input() {
    let folder = folder();
    let mut lbctl = std::process::Command::new(env!("CARGO_BIN_EXE_lbctl"));
    lbctl.args(["simulate", "--config", "pools.conf", "--json", "-"]).current_dir(&folder.0);
    let mut lbctl =
        lbctl.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    lbctl.stdin.take().unwrap().write_all(&packed(&log(40))).unwrap();
    let output = lbctl.wait_with_output().unwrap();
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&document["requests"], &document["unread"]), (&40.into(), &0.into()), "{document}");
}

#[test]
fn a_line_that_is_longer_than_the_kernel_holds_is_told() {
    let folder = folder();
    let line = "{\"time\":1,\"path\":\"/x\",\"seconds\":0.01}\n";
    folder.write("crowd.log", line.repeat(300));
    let words = ["--workers", "1", "crowd.log"];
    let plain = simulate(&folder, &words).done();
    assert!(!plain.out.contains("ListenBacklog"), "{}", plain.whole());
    folder.write("pools.conf", "ListenBacklog 100\n".to_owned() + &folder.read("pools.conf"));
    let told = simulate(&folder, &words).done();
    assert!(told.out.contains("more than ListenBacklog 100: clients"), "{}", told.whole());
    let document = json(&simulate(&folder, &[&["--json"], &words[..]].concat()).done());
    let peak = document["worker_line_peak"].as_u64().unwrap();
    assert!((101..300).contains(&peak) && document["listen_backlog"] == 100, "{document}");
}

#[test]
fn members_that_cannot_be_added_are_refused() {
    let folder = folder();
    let added = |names: &[&str]| {
        let each =
            names.iter().flat_map(|name| ["--add".to_owned(), format!("{name}=http://192.0.2.9:80@14:01")]);
        let all: Vec<String> = each.chain(["access.log".to_owned()]).collect();
        simulate(&folder, &all.iter().map(String::as_str).collect::<Vec<_>>())
    };
    for (names, told) in [
        (&["a"][..], "--add a: pool app already has a member named a"),
        (&["APP/a"], "--add a: pool app already has a member named a"),
        (&["d", "d"], "--add d: pool app already has a member named d"),
        (&["nope/d"], "--add nope/d: there is no such pool; expected one of app"),
    ] {
        let said = added(names);
        assert!(said.code == 2 && said.err.contains(told), "{}", said.whole());
    }
    added(&["d", "app/e"]).done();
}

#[test]
fn a_log_may_name_pools_with_its_members() {
    let folder = folder();
    // Smooth round robin over 5, 1, 1.
    let turn = ["a", "a", "b", "a", "c", "a", "a"];
    let run = |pool: &str, more: &[&str]| {
        let line = |n: usize| {
            let (second, member) = (n / 20, turn[n % 7]);
            format!("h [30/Nov/2026:14:00:{second:02} +0000] \"GET / HTTP/1.1\" {pool}{member}\n")
        };
        folder.write("own.log", (0..700).map(line).collect::<String>());
        let words = ["--json", "--against-log", "--log-format", "%h %t \"%r\" %{LB_MEMBER}e", "own.log"];
        json(&simulate(&folder, &[more, &words].concat()).done())["differences"].clone()
    };
    for pool in ["", "app/", "App/"] {
        assert_eq!(run(pool, &[])["differ"], 0, "{pool}");
    }
    let other = run("other/", &[]);
    assert_eq!((&other["differ"], &other["examples"][0]["now"]), (&700.into(), &"app/a".into()), "{other}");
    let drawn = run("app/", &["--method", "random"]);
    assert_eq!(drawn["drawn_shares"].as_array().map(Vec::len), Some(3), "{drawn}");
    assert_eq!(drawn["drawn_shares"][0]["member"], "app/a", "{drawn}");
}

/// The most memory that a process has had so far, in KiB.
fn most_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn memory_does_not_grow_with_the_log() {
    let folder = folder();
    let mut lbctl = std::process::Command::new(env!("CARGO_BIN_EXE_lbctl"));
    lbctl.args(["simulate", "--config", "pools.conf", "--json", "-"]).current_dir(&folder.0);
    let mut lbctl =
        lbctl.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut input = lbctl.stdin.take().unwrap();
    let mut feed = |numbers: std::ops::Range<u32>| {
        for n in numbers {
            let second = 1_796_047_200.0 + f64::from(n) / 50.0;
            writeln!(input, "{{\"time\":{second},\"path\":\"/{n}/x\",\"client\":\"192.0.2.1\"}}").unwrap();
        }
        most_memory(lbctl.id())
    };
    let (some, many) = (feed(0..20_000), feed(20_000..100_000));
    drop(input);
    let output = lbctl.wait_with_output().unwrap();
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["requests"], 100_000);
    assert!(many < some + 4096, "{some} KiB after 20,000 lines, {many} KiB after 100,000");
}
