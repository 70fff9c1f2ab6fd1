-- SPDX-License-Identifier: Apache-2.0
-- Two complete sets of members, of which one is live. To switch, change the line below and save the
-- file: all children serve the other set within a second; a typing error in it is refused. The
-- cookie "colour" shows testers the idle set.
--
--   LuaHookTranslate lua/blue_green.lua select
--
-- Expects the pool "app"; members have meta.colour=blue or meta.colour=green.

local LIVE = "blue"

local app = lb.pool("app")
local colours = {
  blue = app:where{ colour = "blue" },
  green = app:where{ colour = "green" },
}
assert(colours[LIVE], "LIVE: expected blue or green, found " .. LIVE)

function select(r)
  return colours[r:getcookie("colour")] or colours[LIVE]
end
