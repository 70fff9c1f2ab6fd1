-- SPDX-License-Identifier: Apache-2.0
-- The member with the fewest requests for its weight, counted over all children: in the client's
-- own zone as long as one there is usable, else anywhere.
--
--   LuaHookTranslate lua/least_connections.lua select
--
-- Expects the pool "app"; members have zone=. The zone comes from a header that the front sets.

local app = lb.pool("app")

function select(r)
  local zone = r.headers_in["X-Zone"]
  if zone then
    local near = app:where{ zone = zone }
    local member = near:least_connections()
    if member then
      return { member, near, app }
    end
  end
  return app:least_connections()
end
