// SPDX-License-Identifier: Apache-2.0
//! OpenResty's names, and the scripts of a published article that use them.
#![allow(missing_docs)]

#[path = "../common/mod.rs"]
mod common;
mod names;
mod scripts;

use common::{World, eval, value};
use script::host::{Field, RequestTable};
use script::{Answer, AttemptsSoFar, ErrorKind, Library, Peer, Phase};
/// The article's first script, word for word but for its comments.
const ARTICLE: &str = r#"-- balancer.lua
local backend_servers = {
  { host = "192.168.1.10", port = 8080, weight = 1 },
  { host = "192.168.1.11", port = 8080, weight = 2 },
  { host = "192.168.1.12", port = 8080, weight = 1 }
}

local server_count = #backend_servers
local current_index = 0
local function round_robin()
  current_index = (current_index % server_count) + 1
  return backend_servers[current_index]
end
local total_weight = 0
for i = 1, server_count do total_weight = total_weight + backend_servers[i].weight end
local function weighted_round_robin()
  local random_weight = math.random(total_weight)
  local current_weight = 0
  for i = 1, server_count do
    current_weight = current_weight + backend_servers[i].weight
    if random_weight <= current_weight then return backend_servers[i] end
  end
  return backend_servers[1]
end
local function get_backend_server()
  --return round_robin()
  return weighted_round_robin()
end
local backend = get_backend_server()
local backend_url = "http://" .. backend.host .. ":" .. backend.port .. "/"
ngx.req.set_header("X-Backend-Server", backend.host .. ":" .. backend.port)
ngx.req.set_header("X-Load-Balancer", "Apache+Lua")
ngx.req.set_uri(ngx.var.request_uri)
ngx.req.set_header("Host", backend.host .. ":" .. backend.port)
ngx.redirect(backend_url, ngx.HTTP_MOVED_TEMPORARILY)
"#;
