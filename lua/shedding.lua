-- SPDX-License-Identifier: Apache-2.0
-- Under overload what can wait is told to come back later (503 with Retry-After), so that what
-- cannot wait is served. Requests are of low priority by their path or by the header "X-Priority:
-- low"; all others are never turned away here.
--
--   LuaHookTranslate lua/shedding.lua select
--
-- Expects the pool "app".

local MOST = 20 -- requests in flight for each usable member, counted over all children
local RETRY_AFTER = "5" -- seconds

local app = lb.pool("app")
local low_paths = { export = true, reports = true }

local function can_wait(r)
  return r.headers_in["X-Priority"] == "low" or low_paths[r.uri:match("^/([^/]*)")]
end

function select(r)
  if can_wait(r) and app.inflight >= MOST * app.usable then
    r.err_headers_out["Retry-After"] = RETRY_AFTER
    return 503
  end
  return app
end
