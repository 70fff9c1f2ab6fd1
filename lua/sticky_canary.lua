-- SPDX-License-Identifier: Apache-2.0
-- A share of the clients goes to the new version, and who was there once stays there: a cookie
-- remembers it when the client's address changes and when the share becomes smaller. With a share
-- of 0 the canary is over, for everybody.
--
--   LuaHookTranslate lua/sticky_canary.lua select
--
-- Expects the pool "app"; members have meta.track=stable or meta.track=canary.

local PERCENT = 5
local COOKIE, DAYS = "canary", 30

local app = lb.pool("app")
local stable = app:where{ track = "stable" }
local canary = app:where{ track = "canary" }

local usual = { stable, app } -- better the other version than none
local chosen = { canary, app }

function select(r)
  if PERCENT == 0 or canary.usable == 0 then
    return usual
  end
  local stays = r:getcookie(COOKIE) == "1"
  -- By the address and not by dice: who asks often would be in soon.
  if not stays and lb.hash(r.useragent_ip) % 100 >= PERCENT then
    return usual
  end
  if not stays then
    r:setcookie{
      key = COOKIE,
      value = "1",
      path = "/",
      httponly = true,
      expires = lb.time() + DAYS * 86400,
    }
  end
  return chosen
end
