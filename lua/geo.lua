-- SPDX-License-Identifier: Apache-2.0
-- Each client goes to the members near it, by the country of its address: China, the USA, and the
-- rest of the world.
--
--   LuaBalancerGeoIP /var/lib/GeoIP/GeoLite2-City.mmdb
--   LuaHookTranslate lua/geo.lua select
--
-- Expects the pool "app"; members have zone=china, zone=usa or zone=rest. Behind another proxy,
-- mod_remoteip has to be configured, so that the address is the client's and not that proxy's.

local app = lb.pool("app")
local near = {
  CN = app:where{ zone = "china" },
  US = app:where{ zone = "usa" },
}
local rest = app:where{ zone = "rest" }

function select(r)
  local place = lb.geo(r.useragent_ip) -- nil for private and unknown addresses
  local members = place and near[place.country] or rest
  return { members, app } -- better far away than not at all
end
