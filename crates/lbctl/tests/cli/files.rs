// SPDX-License-Identifier: Apache-2.0
//! Files of another kind than expected: told, and not waited for.

use std::process::Command;

use crate::{Folder, Said};

/// Calls the program for at most 20 s.
fn bounded(folder: &Folder, words: &[&str]) -> Said {
    let mut command = Command::new("timeout");
    command.args(["-k", "1", "20", env!("CARGO_BIN_EXE_lbctl")]).args(words).current_dir(&folder.0);
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&*folder.0.to_string_lossy(), "DIR");
    Said { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
}

fn with_a_pipe() -> Folder {
    let folder = Folder::with(&[("pools.conf", "<LuaBalancerPool app>\n</LuaBalancerPool>\n")]);
    assert!(Command::new("mkfifo").arg(folder.0.join("pipe")).status().unwrap().success());
    std::fs::create_dir(folder.0.join("folder")).unwrap();
    folder
}

#[test]
fn pipes_devices_and_folders_are_refused_where_files_belong() {
    let folder = with_a_pipe();
    for (file, found) in [("pipe", "a pipe"), ("/dev/zero", "a device"), ("folder", "a folder")] {
        let told = format!("found {found}, expected a file");
        for (words, code) in [
            (&["check", "--without-httpd", file][..], 1),
            (&["convert", "nginx", file], 2),
            (&["convert", "haproxy", file], 2),
            (&["convert", "balancer", file], 2),
            (&["explain", "--config", file, "/"], 2),
            (&["simulate", "--config", file, "access.log"], 2),
            (&["status", "--url", "https://127.0.0.1:1/", "--ca", file], 2),
            (&["status", "--url", "http://127.0.0.1:1/", "--user", "a", &format!("--netrc={file}")], 2),
            (&["rollout", "app", "--socket", "gone", "--resume", "--journal", file, "--", "true"], 2),
        ] {
            let said = bounded(&folder, words);
            assert!(said.code == code && said.whole().contains(&told), "{words:?}: {}", said.whole());
        }
    }
    Command::new("mkfifo").arg(folder.0.join("x_test.lua")).status().unwrap();
    let said = bounded(&folder, &["test"]);
    assert!(said.code == 1 && said.whole().contains("found a pipe"), "{}", said.whole());
}

#[test]
fn a_file_that_is_not_text_is_no_configuration() {
    let folder = with_a_pipe();
    let pool = "<LuaBalancerPool app>\n  LuaBalancerMember http://a:1\n</LuaBalancerPool>\n";
    let wide: Vec<u8> = pool.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (bytes, told) in [
        ([b"\xff\xfe", &wide[..]].concat(), "1: error: found UTF-16"),
        ([b"\xff\xfe", pool.as_bytes()].concat(), "1: error: found UTF-16"),
        ([b"\xef\xbb\xbf", pool.as_bytes()].concat(), "1: error: found a byte order mark"),
        (wide.clone(), "1: error: found a byte of 0"),
        ([pool.as_bytes(), b"\n\x00"].concat(), "5: error: found a byte of 0"),
        ([b"\x80", pool.as_bytes()].concat(), "1: error: '\u{fffd}<LuaBalancerPool' is not the name"),
        ([pool.as_bytes(), "Größe 1\n".as_bytes()].concat(), "4: error: 'Größe' is not the name"),
        ([pool.as_bytes(), b"Listen\x1b[2J 1\n"].concat(), "4: error: 'Listen\\u{1b}[2J' is not the name"),
    ] {
        folder.write("odd.conf", &bytes);
        let said = folder.lbctl(&["check", "--without-httpd", "odd.conf"]);
        let told = format!("DIR/odd.conf:{told}");
        assert!(said.code == 1 && said.out.starts_with(&told), "{told}: {}", said.whole());
        let said = folder.lbctl(&["explain", "--config", "odd.conf", "/"]);
        assert!(said.code == 2, "{told}: {}", said.whole());
    }
    // Comments and values are in any encoding, and lines that do not count may be anything.
    folder.write(
        "odd.conf",
        [b"# Gr\xf6\xdfe\nServerAdmin J\xf6rg\n<IfDefine X>\nG\xf6\n</IfDefine>\n", pool.as_bytes()].concat(),
    );
    folder.lbctl(&["check", "--without-httpd", "odd.conf"]).done();
}

#[test]
fn a_journal_that_is_none_is_told() {
    let folder = with_a_pipe();
    for (journal, told) in [
        ("[]", "found other JSON than an object"),
        ("7", "found other JSON than an object"),
        ("[\"app\",[\"true\"]]", "found other JSON than an object"),
        ("{}", "missing field `pool`"),
        ("{\"pool\":\"app\",\"command\":\"true\"}", "other keys"),
        ("", "found no JSON"),
        ("{\"pool\":\"app\",\"comm", "found no JSON"),
        ("{\"pool\":\"other\",\"command\":[\"true\"]}", "is of other with: true"),
    ] {
        folder.write("journal.json", journal);
        let words =
            ["rollout", "app", "--socket", "gone", "--resume", "--journal", "journal.json", "--", "true"];
        let said = bounded(&folder, &words);
        assert!(said.code == 2 && said.err.contains(told), "{journal}: {}", said.whole());
        assert_eq!(folder.read("journal.json"), journal);
    }
}

#[test]
fn a_configuration_of_another_balancer_may_come_by_standard_input() {
    let folder = with_a_pipe();
    let mut lbctl = Command::new(env!("CARGO_BIN_EXE_lbctl"));
    let mut lbctl = lbctl
        .args(["convert", "nginx", "-"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .current_dir(&folder.0)
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut lbctl.stdin.take().unwrap(), b"upstream app { server a:1; }\n").unwrap();
    let output = lbctl.wait_with_output().unwrap();
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains("<LuaBalancerPool app>")
    );
}

#[test]
fn sections_without_end_within_one_another_are_told() {
    let folder = with_a_pipe();
    folder.write("deep.conf", "<Location /x>\n".repeat(100_000) + &"</Location>\n".repeat(100_000));
    folder.write("deep.nginx", "a {\n".repeat(100_000) + &"}\n".repeat(100_000));
    for (words, told) in [
        (&["check", "--without-httpd", "deep.conf"][..], "deep.conf:33: error: more than 32 sections"),
        (&["explain", "--config", "deep.conf", "/"], "more than 32 sections"),
        (&["convert", "balancer", "deep.conf"], "more than 32 sections"),
        (&["convert", "nginx", "deep.nginx"], "deep.nginx:65: more than 64 blocks"),
    ] {
        let said = bounded(&folder, words);
        assert!((1..=2).contains(&said.code) && said.whole().contains(told), "{words:?}: {}", said.whole());
    }
}
