//! Configuration of pools, and a window into them: a script that tells what it sees of every member.

use std::collections::BTreeMap;

use crate::backend::Backend;
use crate::httpd::{Builder, Httpd};

/// A `<LuaBalancerPool>` of backends, each with further keys; a member's name is its backend's. `lines` are
/// further directives of the pool.
pub fn pool(name: &str, members: &[(&Backend, &str)], lines: &str) -> String {
    let members = members.iter().map(|(backend, keys)| {
        format!("  LuaBalancerMember {} name={} {keys}\n", backend.url(), backend.name())
    });
    format!("<LuaBalancerPool {name}>\n{}{lines}\n</LuaBalancerPool>\n", members.collect::<String>())
}

/// A member as a script sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// `up`, `down`, `ejected`, `draining`, `disabled`.
    pub state: String,
    /// The weight.
    pub weight: u32,
    /// Requests in flight, over all children.
    pub inflight: u32,
    /// Attempts that failed and count against it.
    pub failures: u32,
}

const STATE_SCRIPT: &str = r#"
function state(r)
  local seen = {}
  for m in lb.pool(r.uri:match("[^/]+$")):members() do
    seen[#seen + 1] = ("%s=%s/%d/%d/%d"):format(m.name, m.state, m.weight, m.inflight, m.failures)
  end
  r.subprocess_env["STATE"] = table.concat(seen, " ")
  return 204
end
"#;

impl Builder {
    /// Makes [`Httpd::members`] work, at `/--state/POOL`.
    pub fn with_member_states(self) -> Self {
        self.file("state.lua", STATE_SCRIPT).config(
            "<Location /--state>\n  LuaHookTranslate state.lua state\n  \
             Header always set X-State \"%{STATE}e\"\n</Location>",
        )
    }
}

impl Httpd {
    /// Every member of a pool as a script sees it now. Needs [`Builder::with_member_states`].
    pub fn members(&self, pool: &str) -> BTreeMap<String, Seen> {
        let response = self.client().get(&format!("/--state/{pool}"));
        let text =
            response.header("X-State").unwrap_or_else(|| panic!("no X-State in {response:?}")).to_owned();
        text.split_whitespace().map(parse_member).collect()
    }

    /// One member of a pool.
    pub fn member(&self, pool: &str, name: &str) -> Seen {
        self.members(pool).remove(name).unwrap_or_else(|| panic!("no member {name} in pool {pool}"))
    }

    /// The sum of a pool's requests in flight.
    pub fn inflight(&self, pool: &str) -> u32 {
        self.members(pool).values().map(|member| member.inflight).sum()
    }
}

fn parse_member(text: &str) -> (String, Seen) {
    let mut parts = text.split(['=', '/']);
    let mut part = || parts.next().unwrap_or_else(|| panic!("half a member: {text:?}")).to_owned();
    let (name, state, weight, inflight, failures) = (part(), part(), part(), part(), part());
    let number = |text: String| text.parse().unwrap_or_else(|_| panic!("not a count: {text:?}"));
    (name, Seen { state, weight: number(weight), inflight: number(inflight), failures: number(failures) })
}
