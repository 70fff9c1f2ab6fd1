-- SPDX-License-Identifier: Apache-2.0
-- Tries a new policy on live requests: the candidate is asked as well, and a line in the error log
-- tells each request that it would have sent elsewhere. It is asked when the response is out:
-- nobody notices if it fails or never ends.
--
--   LuaHookTranslate lua/shadow.lua select
--   LuaHookFinish lua/shadow.lua finish
--
-- Expects the pool "app". Candidates that pick in turn (round_robin, random) take turns away from
-- the real requests.

local app = lb.pool("app")

local function current(r)
  return app:hash(r.useragent_ip)
end

local function candidate(r)
  return app:consistent_hash(r.useragent_ip)
end

-- Members and pools have names; a view has its pool's. Anything else tells itself.
local function name(choice)
  local kind = type(choice)
  return kind == "userdata" and choice.name or tostring(choice)
end

function select(r)
  local choice, message = current(r)
  r.notes["shadow"] = name(choice)
  return choice, message
end

function finish(r, _)
  local real = r.notes["shadow"]
  local ok, choice = pcall(candidate, r)
  if not ok then
    r:warn("shadow: the candidate fails: " .. tostring(choice))
  elseif real and name(choice) ~= real then
    r:notice("shadow: " .. r.uri .. " went to " .. real .. ", the candidate says " .. name(choice))
  end
end
