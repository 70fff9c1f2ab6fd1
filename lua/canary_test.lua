-- SPDX-License-Identifier: Apache-2.0
local t = require "lb.test"

t.config {
  script = "canary.lua",
  pools = {
    app = {
      { name = "stable", url = "http://a:1", meta = { track = "stable" } },
      { name = "canary", url = "http://b:2", meta = { track = "canary" } },
    },
  },
}

local function client(i)
  return "/", { client = ("10.0.%d.%d"):format(i >> 8, i & 255) }
end

t.case("a share of the clients gets the canary", function()
  t.expect(t.many(4000, client)).share({ canary = 0.05 }, 0.015)
end)

t.case("a client stays on its track", function()
  local again = t.moved(function() end, t.keys(500, client))
  assert(again.count == 0)
end)

t.case("the cookie overrides the dice", function()
  t.expect(t.many(50, client, nil)).share({ stable = 0.95 }, 0.1)
  t.expect(t.get("/", { cookies = { track = "canary" } })).member("canary")
  t.expect(t.get("/", { cookies = { track = "stable" } })).member("stable")
end)

t.case("better the other version than none", function()
  t.down("canary")
  t.expect(t.get("/", { cookies = { track = "canary" } })).member("stable")
end)
