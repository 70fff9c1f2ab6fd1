-- SPDX-License-Identifier: Apache-2.0
local t = require "lb.test"

t.config {
  script = "shedding.lua",
  pools = { app = { { name = "a", url = "http://a:1" }, { name = "b", url = "http://b:2" } } },
}

t.case("while there is room everybody is served", function()
  t.inflight("a", 39)
  t.expect(t.get("/export/all")).status(200)
end)

t.case("under overload what can wait is told to come back", function()
  t.inflight("a", 40)
  t.expect(t.get("/export/all")).status(503).header("Retry-After", 5)
  t.expect(t.get("/reports")).status(503)
  t.expect(t.get("/", { headers = { ["X-Priority"] = "low" } })).status(503)
end)

t.case("what cannot wait is served", function()
  t.inflight("a", 400)
  t.expect(t.get("/")).status(200).header("Retry-After", false)
  t.expect(t.get("/exports")).status(200)
end)
