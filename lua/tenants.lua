-- SPDX-License-Identifier: Apache-2.0
-- Tenants with members of their own: a request gets its tenant's pool and never another one, even
-- when all members of it are down. A host that belongs to nobody gets 421 (Misdirected Request).
--
--   LuaHookTranslate lua/tenants.lua select
--
-- Expects the pools named below.

local tenants = {
  acme = lb.pool("acme"),
  globex = lb.pool("globex"),
}
local hosts = {
  ["acme.example.org"] = "acme",
  ["www.acme.example.org"] = "acme",
  ["globex.example.org"] = "globex",
}
-- A header that names the tenant, such as "X-Tenant": only where something in front sets it, and
-- clients cannot.
local HEADER = false

local function tenant(r)
  if HEADER then
    return r.headers_in[HEADER]
  end
  local host = r.hostname or ""
  return hosts[host:lower():gsub("%.$", "")]
end

function select(r)
  return tenants[tenant(r)] or 421
end
