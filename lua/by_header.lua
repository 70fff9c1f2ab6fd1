-- SPDX-License-Identifier: Apache-2.0
-- A header or else a cookie names the version of the application that answers. Without either, or
-- with a version that there is not, it is the usual one.
--
--   LuaHookTranslate lua/by_header.lua select
--
-- Expects the pool "app"; members have meta.version=1 or meta.version=2.

local HEADER, COOKIE, USUAL = "X-App-Version", "app_version", "1"

local app = lb.pool("app")
local versions = {
  ["1"] = app:where{ version = "1" },
  ["2"] = app:where{ version = "2" },
}

function select(r)
  local wanted = r.headers_in[HEADER] or r:getcookie(COOKIE)
  return versions[wanted] or versions[USUAL]
end
