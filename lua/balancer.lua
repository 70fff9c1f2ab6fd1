-- SPDX-License-Identifier: Apache-2.0
-- A selection script: static files stay here, the API and the application go to their pools,
-- testers to version 2.
--
--   LuaHookTranslate lua/balancer.lua select
--
-- Expects the pools "app" (members with meta.version) and "api".

local app = lb.pool("app")

function select(r)
  if r.uri:find("^/static/") then
    return nil -- not ours: httpd goes on
  end
  if r.uri:find("^/api/") then
    return lb.pool("api") -- a pool: its method picks, as late as possible
  end
  if r:getcookie("beta") then
    return app:where{ version = "2" }:least_connections()
  end
  return app:least_connections() -- a member: this one first
end
