-- SPDX-License-Identifier: Apache-2.0
-- Each user always meets the same member, whose cache knows the user: by name if httpd knows it,
-- else by API key, else by session cookie, else by address. When a member goes down only its users
-- move, and they come back with it.
--
--   LuaHookSelect lua/hash_by_user.lua select
--
-- Expects the pool "app". In LuaHookSelect, after authentication, r.user is known; in
-- LuaHookTranslate it is not yet.

local app = lb.pool("app")

-- The kind is part of the key: a user named like somebody's API key is another one.
local function key(r)
  if r.user then
    return "user " .. r.user
  end
  local api_key = r.headers_in["X-Api-Key"]
  if api_key then
    return "key " .. api_key
  end
  local session = r:getcookie("session")
  if session then
    return "session " .. session
  end
  return "address " .. r.useragent_ip
end

function select(r)
  return app:consistent_hash(key(r))
end
