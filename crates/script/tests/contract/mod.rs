// SPDX-License-Identifier: Apache-2.0
//! The answers of every host to scripts, as data: `cases.txt` has a name in the first column, the
//! body of a function of `r` below it, and behind `=>` its result. The cases of a section run one
//! after the other, each for a request of its own, with one server: in [`SETUP`]'s state at the
//! beginning, which a case leaves as it found it. Without httpd `crates/script/tests` runs them,
//! with it `tests/tests`.
//!
//! With `CONTRACT_SHOW=1` in the environment the tests print the file's text with what they got.

use std::fmt::Write as _;

/// The sections of the file.
const TEXT: &str = include_str!("cases.txt");

/// Pools, as a configuration has them. Nobody is connected to.
pub const POOLS: &str = "\
<LuaBalancerPool app>
  LuaBalancerMember http://192.0.2.1:8001 name=a weight=5 zone=eu meta.version=1
  LuaBalancerMember http://192.0.2.2:8002 name=b zone=eu meta.version=2 route=rb
  LuaBalancerMember http://192.0.2.3:8003/base name=c zone=us max_inflight=4
</LuaBalancerPool>
<LuaBalancerPool turns>
  LuaBalancerMember http://192.0.2.1:8001 name=a weight=5
  LuaBalancerMember http://192.0.2.2:8002 name=b
  LuaBalancerMember http://192.0.2.3:8003 name=c
</LuaBalancerPool>
<LuaBalancerPool idle>
  LuaBalancerMember http://192.0.2.1:8001 name=a weight=5
  LuaBalancerMember http://192.0.2.2:8002 name=b
  LuaBalancerMember http://192.0.2.3:8003 name=c
</LuaBalancerPool>
<LuaBalancerPool changing>
  LuaBalancerMember http://192.0.2.1:8001 name=a
  LuaBalancerMember http://192.0.2.2:8002 name=b
</LuaBalancerPool>
<LuaBalancerPool hashed>
  LuaBalancerMember http://192.0.2.1:8001 name=a
  LuaBalancerMember http://192.0.2.2:8002 name=b
  LuaBalancerMethod hash key=\"%{HTTP:X-Token}/example\"
</LuaBalancerPool>
<LuaBalancerPool byaddress>
  LuaBalancerMember http://192.0.2.1:8001 name=a
  LuaBalancerMember http://192.0.2.2:8002 name=b
  LuaBalancerMethod hash
</LuaBalancerPool>
<LuaBalancerPool sticky>
  LuaBalancerMember http://192.0.2.1:8001 name=a
  LuaBalancerMember http://192.0.2.2:8002 name=b route=yes
  LuaBalancerSticky cookie=beta
</LuaBalancerPool>
";

/// The target of `get` and `post`, behind the place of the script.
pub const TARGET: &str = "/case/a%20b?x=1&y=two%20words&x=3&empty=&flag";

/// Headers of every request but the number of the case, which is `X-Case`.
pub const HEADERS: [(&str, &str); 6] = [
    ("Host", "www.example.org"),
    ("User-Agent", "agent/1"),
    ("Cookie", "alpha=no; beta=yes; quoted=\"q v\""),
    ("X-Token", "t"),
    ("X-Multi", "one"),
    ("X-Multi", "two"),
];

/// The body of the requests of `post`.
pub const BODY: &str = "a=1&b=two+words&a=%33";

/// Dictionaries by name and KiB.
pub const DICTS: [(&str, usize); 3] = [("store", 1024), ("few", 32), ("jobs", 1024)];

/// An address that the database knows.
#[allow(dead_code)]
pub const ADDRESS: &str = "175.16.199.1";

/// One case.
pub struct Case {
    /// Its subject.
    pub name: &'static str,
    /// The body of a function of `r`.
    pub lua: &'static str,
    /// Its result.
    pub expected: &'static str,
}

/// The cases of a section.
pub fn cases(section: &str) -> Vec<Case> {
    let start = format!("\n[{section}]\n");
    let from = TEXT.find(&start).expect("a section of that name") + start.len();
    let end = TEXT[from..].find("\n[").map_or(TEXT.len(), |at| from + at);
    let mut cases: Vec<Case> = Vec::new();
    for line in TEXT[from..end].lines().filter(|line| !line.trim().is_empty()) {
        match (line.strip_prefix("  "), cases.last_mut()) {
            (None, _) => cases.push(Case { name: line, lua: "", expected: "" }),
            (Some(rest), Some(case)) => match rest.strip_prefix("=> ") {
                Some(expected) => case.expected = expected,
                None => case.lua = rest,
            },
            (Some(_), None) => panic!("no name above {line}"),
        }
    }
    cases
}

/// Where jobs find somebody, and nobody.
pub struct Around {
    /// Host and port of a server that answers `HTTP/1.1 200 Whatever`, `X-Y: z` and `hello` to
    /// everything, and closes.
    pub server: (String, u16),
    /// A port of the same host that is closed.
    pub closed: u16,
}

/// The script: `case` and `answer` run the case whose number is in `X-Case`, and `told` gives what
/// the jobs have to say.
pub fn script(around: &Around) -> String {
    let mut text = PRELUDE.to_owned();
    for section in ["get", "post", "answer", "job"] {
        writeln!(text, "sections.{section} = {{").expect("room");
        for case in cases(section) {
            writeln!(text, "function(r)\n{}\nend,", case.lua).expect("room");
        }
        text.push_str("}\n");
    }
    let (host, port) = &around.server;
    (text + ENTRIES)
        .replace("@BACKEND@", &format!("{host}:{port}"))
        .replace("@HOST@", host)
        .replace("@PORT@", &port.to_string())
        .replace("@CLOSED@", &around.closed.to_string())
}

const PRELUDE: &str = r#"
local sections = {}
local function text(value)
  local kind = type(value)
  if kind == "string" then
    value = value:gsub("[^ \"]*%.lua:%d+: ", ""):gsub("[%c\x80-\xff]", function(c) return ("\\x%02x"):format(c:byte()) end)
    return '"' .. value .. '"'
  elseif kind == "userdata" then
    return "<" .. tostring(value) .. ">"
  elseif kind == "table" and next(value) == nil then
    return "{}"
  elseif kind == "table" then
    local parts, listed = {}, #value
    for n = 1, listed do parts[n] = text(value[n]) end
    local keys = {}
    for key in pairs(value) do
      if math.type(key) ~= "integer" or key < 1 or key > listed then keys[#keys + 1] = tostring(key) end
    end
    table.sort(keys)
    for _, key in ipairs(keys) do
      local one = value[key]
      if one == nil then one = value[tonumber(key)] end
      parts[#parts + 1] = key .. "=" .. text(one)
    end
    return "{" .. table.concat(parts, ", ") .. "}"
  elseif kind == "function" then
    return "a function"
  end
  return tostring(value)
end
local function show(ok, ...)
  if not ok then
    local words = tostring((...)):gsub("\nstack traceback.*", "")
    return "error: " .. text(words)
  end
  local all = table.pack(...)
  for n = 1, all.n do all[n] = text(all[n]) end
  return all.n == 0 and "nothing" or table.concat(all, ", ")
end
"#;

const ENTRIES: &str = r#"
local function numbered(r, section)
  return sections[section][tonumber(r.headers_in["X-Case"])]
end
function case(r)
  r:puts(show(pcall(numbered(r, r.method == "POST" and "post" or "get"), r)))
  return apache2.DONE
end
function answer(r)
  return numbered(r, "answer")(r)
end
function told(r)
  local jobs = lb.dict("jobs")
  if not jobs:get("done") then return 404 end
  for n = 1, #sections.job do r:puts(jobs:get(tostring(n)), "\n") end
  return apache2.DONE
end
lb.after(0.01, function()
  for n, job in ipairs(sections.job) do
    lb.dict("jobs"):set(tostring(n), show(pcall(job)))
  end
  lb.dict("jobs"):set("done", true)
end)
"#;

/// Compares what a section gave with what it has to.
///
/// # Panics
/// Something else came out; all of it is listed.
pub fn compare(section: &str, got: &[String]) {
    let cases = cases(section);
    assert_eq!(cases.len(), got.len(), "each case of {section} has an answer");
    if std::env::var_os("CONTRACT_SHOW").is_some() {
        for (case, got) in cases.iter().zip(got) {
            println!("{}\n  {}\n  => {got}", case.name, case.lua);
        }
    }
    let wrong: Vec<String> = cases
        .iter()
        .zip(got)
        .filter(|(case, got)| case.expected != *got)
        .map(|(case, got)| {
            format!("{}: {}\n  expected {}\n  got      {got}", case.name, case.lua, case.expected)
        })
        .collect();
    assert!(wrong.is_empty(), "{section}: {} of {}:\n{}", wrong.len(), got.len(), wrong.join("\n"));
}
