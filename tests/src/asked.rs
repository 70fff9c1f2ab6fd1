// SPDX-License-Identifier: Apache-2.0
//! A site with pools of every method and scripts of every kind of answer, and requests to it that
//! are the same in every run: for tests that compare two ways to a decision.

use std::fmt::Write as _;

use crate::client::Request;
use crate::dice::Dice;

/// Members, all at one port, which is written PORT.
pub const MEMBERS: &str = "  LuaBalancerMember http://127.0.0.1:PORT/1 name=a weight=5 zone=eu meta.version=1 meta.track=stable meta.colour=blue
  LuaBalancerMember http://127.0.0.1:PORT/2 name=b zone=eu meta.version=2 meta.track=canary meta.colour=green
  LuaBalancerMember http://127.0.0.1:PORT/3 name=c zone=us weight=2.5 route=other meta.version=2 meta.track=stable
  LuaBalancerMember http://127.0.0.1:PORT/4 name=d status=+D
  LuaBalancerMember http://127.0.0.1:PORT/5 name=e status=+N
  LuaBalancerMember http://127.0.0.1:PORT/6 name=f lbset=1
";

/// A script whose functions answer with lists, views, members, errors and codes.
pub const PICK: &str = "\
function each(r)
  local app = lb.pool('each')
  return { app:where{ zone = 'us' }, app:member('e'), app }
end
function list(r) local app = lb.pool('list') return { app:member('d'), app:member('e'), app:member('a') } end
function view(r) return lb.pool('view'):except('a'):round_robin() end
function by(pool, r) return pool:member(r.headers_in['X-Name'] or 'b') end
function odd(r)
  local what = r.headers_in['X-What']
  if what == 'error' then error('so it is') end
  if what == 'page' then r:puts('x') return 404 end
  if what == 'nobody' then return lb.pool('view'):where{ zone = 'none' }:first() end
  return tonumber(what)
end
";

/// Pools by their names, with the line of each.
pub const POOLS: [(&str, &str); 11] = [
    ("app", ""),
    ("least", "LuaBalancerMethod least_connections"),
    ("ring", "LuaBalancerMethod consistent_hash key=%{REQUEST_URI}"),
    ("bounded", "LuaBalancerMethod consistent_hash balance_factor=1.25 key=%{req:X-Key}"),
    ("maglev", "LuaBalancerMethod maglev key=%{req:X-Key}-%{QUERY_STRING}"),
    ("sticky", "LuaBalancerSticky cookie=SRV param=srv"),
    ("near", "LuaBalancerSet zone=us"),
    ("each", ""),
    ("list", ""),
    ("random", "LuaBalancerMethod random"),
    ("two", "LuaBalancerMethod power_of_two"),
];

/// Pools that [`PICK`] asks.
const SCRIPTED: [(&str, &str); 2] = [("view", ""), ("scripted", "LuaBalancerMethod lua pick.lua by")];

/// These pools and those of [`PICK`], each of these members at `/pool/NAME`; and functions of
/// [`PICK`] at `/NAME`.
pub fn site(pools: &[(&str, &str)], members: &str, functions: &[&str]) -> String {
    let mut text = String::new();
    for (name, line) in pools.iter().chain(&SCRIPTED) {
        writeln!(text, "<LuaBalancerPool {name}>\n{members}  {line}\n</LuaBalancerPool>").expect("room");
        writeln!(text, "ProxyPass /pool/{name} lb://{name}").expect("room");
    }
    for function in functions {
        writeln!(text, "<Location /{function}>\n  LuaHookTranslate pick.lua {function}\n</Location>")
            .expect("room");
    }
    text
}

/// A request.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Path and query.
    pub path: String,
    /// The client's address.
    pub client: &'static str,
    /// Headers in order.
    pub headers: Vec<(&'static str, String)>,
}

impl Asked {
    /// The request as it is sent, for a server that believes X-Forwarded-For.
    pub fn request(&self) -> Request {
        let request = Request::get(&self.path).header("X-Forwarded-For", self.client);
        self.headers.iter().fold(request, |request, (name, value)| request.header(name, value))
    }
}

/// The parts that requests are made of. Each has a key of its own (`X-Key`), a seed for its draws
/// (`X-Draw`, which servers of tests know), and at most one of the headers.
pub struct Asking<'a> {
    /// The first parts of paths, without a slash at the end.
    pub places: Vec<String>,
    /// Their ends.
    pub ends: &'a [&'a str],
    /// Headers with their values.
    pub headers: &'a [(&'static str, &'a [&'a str])],
    /// Clients.
    pub clients: &'a [&'static str],
}

impl Asking<'_> {
    /// So many, of a fixed seed.
    pub fn requests(&self, count: usize) -> Vec<Asked> {
        let mut dice = Dice(0x2545_f491_4f6c_dd1d);
        (0..count).map(|number| self.one(number, &mut dice)).collect()
    }

    fn one(&self, number: usize, dice: &mut Dice) -> Asked {
        let place = &self.places[dice.below(self.places.len())];
        let path = format!("{place}{}?n={}", dice.of(self.ends), dice.below(300));
        let mut headers = vec![("X-Key", format!("Key{}", dice.below(500))), ("X-Draw", number.to_string())];
        if let Some((name, values)) = self.headers.get(dice.below(self.headers.len() + 1)) {
            headers.push((name, dice.of(values).to_owned()));
        }
        Asked { path, client: dice.of(self.clients), headers }
    }
}
