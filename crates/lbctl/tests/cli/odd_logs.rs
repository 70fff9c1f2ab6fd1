// SPDX-License-Identifier: Apache-2.0
//! `lbctl simulate` over logs that something is wrong with.

use crate::simulate::{folder, json, simulate};

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
