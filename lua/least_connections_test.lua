-- SPDX-License-Identifier: Apache-2.0
local t = require "lb.test"

t.config {
  script = "least_connections.lua",
  pools = {
    app = {
      { name = "a", url = "http://a:1", zone = "eu" },
      { name = "b", url = "http://b:2", zone = "eu" },
      { name = "c", url = "http://c:3", zone = "us" },
    },
  },
}

t.case("the one with the fewest requests", function()
  t.inflight("a", 2)
  t.inflight("b", 1)
  t.inflight("c", 3)
  t.expect(t.get("/")).member("b")
end)

t.case("in the client's zone as long as somebody is there", function()
  t.inflight("a", 20)
  t.inflight("b", 30)
  t.expect(t.get("/", { headers = { ["X-Zone"] = "eu" } })).member("a")
  t.down("a")
  t.expect(t.get("/", { headers = { ["X-Zone"] = "eu" } })).member("b")
  t.down("b")
  t.expect(t.get("/", { headers = { ["X-Zone"] = "eu" } })).member("c")
end)
