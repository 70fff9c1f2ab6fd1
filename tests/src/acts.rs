// SPDX-License-Identifier: Apache-2.0
//! A hand on the pools: what a script can do to them, as one request each.

use crate::httpd::{Builder, Httpd};

/// `/--act/POOL/VERB[/MEMBER[/ARGUMENT]]`; `add` takes its member's port and name.
const ACT_SCRIPT: &str = r#"
function act(r)
  local words = {}
  for word in r.uri:gmatch("[^/]+") do words[#words + 1] = word end
  local name, verb, member, argument = words[2], words[3], words[4], words[5]
  local pool = lb.pool(name)
  if verb == "add" then
    assert(pool:add{url = "http://127.0.0.1:" .. argument, name = member})
  elseif verb == "remove" then
    pool:remove(member)
  else
    local target = pool:member(member)
    target[verb](target, tonumber(argument))
  end
  return 204
end
"#;

impl Builder {
    /// Makes [`Httpd::act`] work.
    pub fn with_acts(self) -> Self {
        self.file("act.lua", ACT_SCRIPT)
            .config("<Location /--act>\n  LuaHookTranslate act.lua act\n</Location>")
    }
}

impl Httpd {
    /// `app/drain/a`, `app/set_weight/a/3`, `app/add/c/8080` (name and port), `app/remove/c`;
    /// panics when the script fails. Needs [`Builder::with_acts`].
    pub fn act(&self, what: &str) {
        let response = self.client().get(&format!("/--act/{what}"));
        assert_eq!(response.status, 204, "{what}: {}", response.text());
    }
}
