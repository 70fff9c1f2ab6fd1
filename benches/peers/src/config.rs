// SPDX-License-Identifier: Apache-2.0
//! Configuration that the benchmarks share.

/// The selection script of the README.
pub const SCRIPT: &str = "local app = lb.pool(\"app\")\nfunction select(r)\n  if r.uri:find(\"^/static/\") then return nil end\n  \
                          if r.uri:find(\"^/api/\") then return lb.pool(\"api\") end\n  if r:getcookie(\"beta\") then return \
                          app:where{version = \"2\"}:least_connections() end\n  return app:least_connections()\nend\n";

/// Loopback addresses, so that a thousand members are a thousand workers.
pub fn address(index: usize) -> String {
    format!("127.{}.{}.{}", index / 62_500, 1 + index / 250 % 250, 1 + index % 250)
}

/// A line `WORD http://ADDRESS:PORT` for each of the members.
pub fn member_lines(word: &str, members: std::ops::Range<usize>, port: u16) -> String {
    members.map(|index| format!("    {word} http://{}:{port}\n", address(index))).collect()
}

/// A pool, with a method and its keys.
pub fn pool(name: &str, members: std::ops::Range<usize>, port: u16, method: &str) -> String {
    let lines = member_lines("LuaBalancerMember", members, port);
    format!("<LuaBalancerPool {name}>\n{lines}    LuaBalancerMethod {method}\n</LuaBalancerPool>\n")
}

/// A balancer of mod_proxy_balancer.
pub fn balancer(name: &str, members: std::ops::Range<usize>, port: u16, method: &str) -> String {
    let lines = member_lines("BalancerMember", members, port);
    format!("<Proxy \"balancer://{name}\">\n{lines}    ProxySet lbmethod={method}\n</Proxy>\n")
}

/// `ProxyPass` of everything to a URL.
pub fn proxy_pass(url: &str) -> String {
    format!("ProxyPass \"/\" \"{url}/\"\n")
}
