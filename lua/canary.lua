-- SPDX-License-Identifier: Apache-2.0
-- A share of the clients goes to the new version, always the same ones; the cookie "track"
-- overrides the dice.
--
--   LuaHookTranslate lua/canary.lua select
--
-- Expects the pool "app"; members have meta.track=stable or meta.track=canary.

local PERCENT = 5

local app = lb.pool("app")
local tracks = {
  stable = app:where{ track = "stable" },
  canary = app:where{ track = "canary" },
}

function select(r)
  local track = r:getcookie("track")
  if not tracks[track] then
    track = lb.hash(r.useragent_ip) % 100 < PERCENT and "canary" or "stable"
  end
  r.notes["track"] = track
  return { tracks[track], app } -- better the other version than none
end
