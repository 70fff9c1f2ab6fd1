// SPDX-License-Identifier: Apache-2.0
//! Documents as a server writes them.

/// A member of pool app.
pub fn member(name: &str, changes: &[(&str, &str)]) -> String {
    let why = r#"[{"flag":"draining","by":"alice","from":"10.0.0.5","at":"2026-11-30T11:00:00Z","until":"2026-11-30T12:00:00Z","note":"deploy 42"}]"#;
    let is_drained = changes.contains(&("admin", "\"drain\""));
    let mut keys = vec![
        ("pool", "\"app\"".to_owned()),
        ("name", format!("\"{name}\"")),
        ("url", format!("\"http://192.168.1.10:80{}\"", name.len())),
        ("state", if is_drained { "\"draining\"" } else { "\"up\"" }.to_owned()),
        ("healthy", "true".to_owned()),
        ("usable", (!is_drained).to_string()),
        ("since", "\"2026-11-30T09:00:00Z\"".to_owned()),
        ("why", if is_drained { why } else { "[]" }.to_owned()),
        ("admin", "\"ready\"".to_owned()),
        ("until", "null".to_owned()),
        ("then", "null".to_owned()),
        ("note", "null".to_owned()),
        ("weight", "5".to_owned()),
        ("weights", r#"{"configured":5,"ordered":5,"effective":5,"ramp":1,"agent_percent":null}"#.to_owned()),
        ("zone", "null".to_owned()),
        ("role", "\"active\"".to_owned()),
        ("inflight", "2".to_owned()),
        ("max_inflight", "0".to_owned()),
        ("attempts", r#"{"ok":912,"connect":3,"reset":0,"timeout":1,"status":2,"aborted":4}"#.to_owned()),
        ("latency", r#"{"ewma":0.012,"p50":0.008,"p95":0.041,"p99":1.25}"#.to_owned()),
        ("check", "null".to_owned()),
        ("outlier", r#"{"ejected":false,"failures":0,"ejections":0,"until":null}"#.to_owned()),
        ("overrides", "[]".to_owned()),
    ];
    for (key, value) in changes {
        keys.iter_mut().find(|(known, _)| known == key).unwrap().1 = (*value).to_owned();
    }
    let keys: Vec<String> = keys.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    format!("{{{}}}", keys.join(","))
}

/// Pool app alone.
pub fn pools(members: &[String]) -> String {
    let requests = r#"{"ok":1800,"status":2,"connect":1,"reset":0,"timeout":0,"aborted":4,"no_member":0,"queue_timeout":0,"queue_full":0,"script":0}"#;
    format!(
        r#"{{"pools":[{{"name":"app","origin":"config","method":"least_connections","settings":{{}},"usable":{usable},
        "total":{total},"inflight":4,"queued":0,"panic":false,"requests":{requests},"retries":1,
        "latency":{{"p50":0.008,"p95":0.041,"p99":0.2}},"members":[{members}]}}]}}"#,
        usable = members.iter().filter(|member| member.contains("\"usable\":true")).count(),
        total = members.len(),
        members = members.join(",")
    )
}

/// The server.
pub const STATUS: &str = r#"{"version":"0.1.0","httpd":"Apache/2.4.66 (Debian)","lua":"5.4.8","generation":3,
    "started":"2026-11-30T08:00:00Z","children":[{"pid":101,"generation":3},{"pid":102,"generation":3}],
    "leader":{"pid":101,"since":null},"table":{"members":{"used":2,"room":256},"pools":1},
    "warnings":[{"code":"script_refused","message":"balancer.lua: the file that was saved last is refused","since":null}]}"#;

/// The server's events.
pub const EVENTS: &str = r#"{"events":[
    {"seq":1,"at":"2026-11-30T11:00:00Z","kind":"order","pool":"app","member":"b","old":"up","new":"draining","why":null,
     "by":"alice","from":"10.0.0.5","note":"deploy 42","message":null},
    {"seq":2,"at":"2026-11-30T11:00:01Z","kind":"state","pool":"app","member":"a","old":"up","new":"down","why":"refused",
     "by":"checks","from":null,"note":null,"message":"member app/a is down: refused"},
    {"seq":3,"at":"2026-11-30T11:00:02Z","kind":"lead","pool":null,"member":null,"old":null,"new":"102","why":null,
     "by":null,"from":null,"note":null,"message":"child 102 leads"}],"next":4,"lost":0}"#;

/// Where requests went.
pub const DECISIONS: &str = r#"{"decisions":[{"at":"2026-11-30T11:00:00Z","pool":"app","member":"a","method":"GET",
    "reason":"least_connections","candidates":2,"attempts":[{"member":"b","outcome":"connect"},{"member":"a","outcome":"ok"}],
    "seconds":0.021,"status":200,"path":"/cart"}]}"#;

/// Scripts, one of them a shadow, and one beside a version on trial.
pub const SCRIPTS: &str = r#"{"scripts":[
    {"name":"balancer.lua","version":2,"verdict":"refused","calls":{"ok":10},"seconds":0.0015,"rollout":null,"shadow":null,
     "last_error":"balancer.lua:3: unexpected symbol near 'end'","last_error_at":"2026-11-30T11:00:00Z"},
    {"name":"route.lua","version":3,"verdict":"serves","calls":{"ok":7},"seconds":0.25,"shadow":null,
     "rollout":{"state":"running","percent":10,"errors":1,"calls":40,"failed":0,"until":"2026-11-30T11:44:25Z"},
     "last_error":null,"last_error_at":null},
    {"name":"next.lua (shadow)","version":1,"verdict":"serves","calls":{"ok":92},"seconds":0.01,"rollout":null,
     "shadow":{"agree":90,"differ":2,"failed":0,"sample":100,"differences":[
       {"at":"2026-11-30T11:00:00Z","path":"/cart","decided":"app/a by round_robin","shadow":"app/b"}]},
     "last_error":null,"last_error_at":null},
    {"name":"other.lua (shadow)","version":1,"verdict":"serves","calls":{"error":3},"seconds":0.01,"rollout":null,
     "shadow":{"agree":0,"differ":0,"failed":3,"sample":100,"differences":[]},
     "last_error":"other.lua:2: attempt to call a nil value","last_error_at":"2026-11-30T11:00:00Z"}]}"#;

/// Sources of members: one is held, one fails, one is as it should be.
pub const DISCOVERY: &str = r#"{"discovery":[
    {"pool":"app","source":"file-1","kind":"file","where":"/etc/lb/app.json","state":"held","members":3,"listed":0,
     "last_success":"2026-11-30T11:00:04Z","failing_since":null,"last_error":null,
     "held":{"why":"empty","since":"2026-11-30T11:00:00Z","seen":2,"gone":["a","b","c"],"more":2},
     "updates":{"applied":1,"unchanged":1,"held":2,"failed":0}},
    {"pool":"app","source":"file-2","kind":"file","where":"/etc/lb/more.json","state":"stale","members":1,"listed":1,
     "last_success":"2026-11-30T10:00:00Z","failing_since":"2026-11-30T10:00:02Z","held":null,
     "last_error":"it is not JSON: EOF while parsing a list at line 1 column 2",
     "updates":{"applied":1,"unchanged":0,"held":0,"failed":9}},
    {"pool":"api","source":"file-1","kind":"file","where":"lists/api.txt","state":"ok","members":2,"listed":2,
     "last_success":"2026-11-30T11:00:04Z","failing_since":null,"held":null,"last_error":null,
     "updates":{"applied":1,"unchanged":7,"held":0,"failed":0}}]}"#;
