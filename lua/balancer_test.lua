-- SPDX-License-Identifier: Apache-2.0
local t = require "lb.test"

t.config {
  script = "balancer.lua",
  pools = {
    app = {
      { name = "a", url = "http://a:1", weight = 5 },
      { name = "b", url = "http://b:2" },
      { name = "c", url = "http://c:3", meta = { version = "2" } },
    },
    api = { { name = "x", url = "http://x:9" } },
  },
}

t.case("static files stay with httpd", function()
  t.expect(t.get("/static/logo.png")).declined()
end)

t.case("the API has its own pool", function()
  t.expect(t.get("/api/orders")).pool("api").member("x")
end)

t.case("testers see version 2", function()
  t.expect(t.get("/", { cookies = { beta = "1" } })).member("c")
end)

t.case("nobody of version 2: 503, not somebody else", function()
  t.down("c")
  t.expect(t.get("/", { cookies = { beta = "1" } })).status(503).reason("no member")
  t.advance(10)
  t.up("c")
  t.expect(t.get("/", { cookies = { beta = "1" } })).member("c")
end)

t.case("shares follow weights while all are idle", function()
  t.expect(t.many(7000, "/")).share({ a = 5 / 7, b = 1 / 7, c = 1 / 7 }, 0.01)
end)

t.case("who has least for its weight is next", function()
  t.inflight("a", 10)
  t.inflight("b", 3)
  t.inflight("c", 1)
  t.expect(t.get("/")).member("c").method("least_connections")
end)
