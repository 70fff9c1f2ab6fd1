-- SPDX-License-Identifier: Apache-2.0
-- A pool for each part of the site, by the first part of the path. Other paths stay with httpd.
--
--   LuaHookTranslate lua/by_path.lua select
--
-- Expects the pools named below.

local pools = {
  api = lb.pool("api"),
  images = lb.pool("static"),
  css = lb.pool("static"),
  app = lb.pool("app"),
}

function select(r)
  local part = r.uri:match("^/([^/]+)")
  return part and pools[part]
end
