-- SPDX-License-Identifier: Apache-2.0
-- Backends with weights, listed in the script itself. Save an edited list or weight: the difference
-- is applied to the running pool within a second, with no restart, and members that stay keep their
-- state.
--
--   LuaHookTranslate lua/weighted.lua select

local app = lb.define_pool("weighted", {
  method = "round_robin",
  health = { type = "http", uri = "/health", interval = "5s" },
  { host = "192.168.1.10", port = 8080, weight = 1 },
  { host = "192.168.1.11", port = 8080, weight = 2 },
  { host = "192.168.1.12", port = 8080, weight = 1 },
})

function select(_)
  return app
end
