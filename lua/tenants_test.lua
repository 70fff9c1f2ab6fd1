-- SPDX-License-Identifier: Apache-2.0
local t = require "lb.test"

local pools = { acme = { { name = "a", url = "http://a:1" } }, globex = { { name = "g", url = "http://g:2" } } }

t.config { script = "tenants.lua", pools = pools }

t.case("each host has its tenant's pool", function()
  t.expect(t.get("/", { host = "acme.example.org" })).pool("acme")
  t.expect(t.get("/", { host = "WWW.acme.example.org." })).pool("acme")
  t.expect(t.get("/", { host = "globex.example.org" })).pool("globex")
end)

t.case("a host that belongs to nobody is misdirected", function()
  t.expect(t.get("/", { host = "www.example.org" })).status(421)
  t.expect(t.get("/")).status(421)
end)

t.case("never another tenant's members", function()
  t.down("a")
  t.expect(t.get("/", { host = "acme.example.org" })).status(503)
end)

t.case("a header names the tenant where it may", function()
  t.expect(t.get("/", { host = "acme.example.org", headers = { ["X-Tenant"] = "globex" } })).pool("acme")
  t.config { script = "tenants.lua", pools = pools, replace = { ["HEADER = false"] = 'HEADER = "X-Tenant"' } }
  t.expect(t.get("/", { headers = { ["X-Tenant"] = "globex" } })).pool("globex")
  t.expect(t.get("/")).status(421)
end)
