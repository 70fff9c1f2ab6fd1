// SPDX-License-Identifier: Apache-2.0
//! Every way of writing a list.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use server_tests::{Backend, Httpd, Load, Mpm, on_every_mpm, patience, wait_until};

use super::{SOON, found, get, plain, source, wait_for_up};

const ONE_SECOND: Duration = Duration::from_secs(1);

on_every_mpm!(a_list_is_in_service_within_a_second_however_it_is_written);

fn a_list_is_in_service_within_a_second_however_it_is_written(mpm: Mpm) {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let httpd = found("").mpm(mpm).file("lists/app.json", &plain(&[&a, &b])).start();
    wait_for_up(&httpd, "a b");
    let load = Load::start(httpd.port(), "/app/", 4);
    load.wait_for(20);
    let path = httpd.dir().join("lists/app.json");
    pass_a_second();
    httpd.write_in_place("lists/app.json", &plain(&[&a, &b, &c]));
    let in_place = wait_for_up(&httpd, "a b c");
    pass_a_second();
    httpd.write("lists/app.json", &plain(&[&b, &c]));
    let renamed = wait_for_up(&httpd, "b c");
    pass_a_second();
    let row = source(&httpd);
    assert_eq!((&row["state"], &row["updates"]["failed"]), (&"ok".into(), &0.into()), "{row}");
    fs::remove_file(&path).expect("removed");
    fs::write(&path, plain(&[&a, &c])).expect("made anew");
    let made = wait_for_up(&httpd, "a c");
    let swapped = swap_links(&httpd, &[(&plain(&[&a, &b]), "a b"), (&plain(&[&b, &c]), "b c")]);
    let times = [in_place, renamed, made, swapped];
    assert!(times.iter().all(|took| *took <= patience(ONE_SECOND)), "{times:?}");
    load.wait_for(20);
    load.stop().assert_all_ok();
    assert_eq!(source(&httpd)["state"], "ok");
    httpd.assert_no_crash();
}

/// A pool changes once a second at most: so the next list need not wait for that.
pub(super) fn pass_a_second() {
    let began = Instant::now();
    wait_until("a second to pass", SOON, || began.elapsed() > ONE_SECOND);
}

/// As the kubelet mounts a ConfigMap: the file leads through `..data`, and that link is swapped.
fn swap_links(httpd: &Httpd, versions: &[(&str, &str)]) -> Duration {
    let folder = httpd.dir().join("lists");
    let mut longest = Duration::ZERO;
    for (at, (list, names)) in versions.iter().enumerate() {
        let version = format!("..v{at}");
        fs::create_dir(folder.join(&version)).expect("a folder");
        fs::write(folder.join(&version).join("app.json"), list).expect("a list");
        pass_a_second();
        symlink(&version, folder.join("..data_tmp")).expect("a link");
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).expect("swapped");
        if at == 0 {
            symlink("..data/app.json", folder.join("new")).expect("a link");
            fs::rename(folder.join("new"), folder.join("app.json")).expect("in place of the file");
        }
        longest = longest.max(wait_for_up(httpd, names));
    }
    longest
}

#[test]
fn a_list_may_have_every_shape() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = found("").file("lists/app.json", "").start();
    let (a_url, b_url) = (a.url(), b.url());
    let json = format!(
        r#"{{"members":[{{"url":"{a_url}","name":"a","zone":"eu"}},{{"url":"{b_url}","name":"b"}}]}}"#
    );
    httpd.write("lists/app.json", &json);
    wait_for_up(&httpd, "a b");
    httpd.write("lists/app.json", &format!("# today\n{a_url} name=a zone=us weight=3\n{b_url} name=c\n"));
    wait_for_up(&httpd, "a c");
    let member = get(&httpd, "/api/v1/pools/app/members/a");
    assert_eq!((&member["zone"], &member["weight"]), (&"us".into(), &3.into()), "{member}");
    assert_eq!(member["source"]["kind"], "file", "{member}");
    assert_eq!(member["source"]["where"], "lists/app.json", "{member}");
}

#[test]
fn a_thousand_members_are_found_and_changed() {
    let lines = |weight: usize| -> String {
        (0..1000)
            .map(|at| {
                let weight = if at % 100 == 0 { weight } else { 1 };
                format!("http://10.{}.{}.1:80 name=m{at} weight={weight}\n", at / 250, at % 250)
            })
            .collect()
    };
    let httpd = found("").file("lists/app.json", &lines(1)).start();
    wait_until("a thousand members", SOON, || source(&httpd)["members"] == 1000);
    httpd.write("lists/app.json", &lines(2));
    wait_until("another weight", SOON, || super::member(&httpd, "m900")["weight"] == 2);
    let row = source(&httpd);
    assert_eq!(
        (&row["updates"]["applied"], &row["last_error"]),
        (&2.into(), &serde_json::Value::Null),
        "{row}"
    );
    httpd.write("lists/app.json", &(lines(2) + "http://10.9.9.9:80\n"));
    wait_until("a refusal", SOON, || source(&httpd)["state"] == "stale");
    let row = source(&httpd);
    assert_eq!(row["last_error"], "it names 1001 members: at most 1000 are taken (max=)", "{row}");
    assert_eq!(row["members"], 1000, "{row}");
}
