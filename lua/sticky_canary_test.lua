-- SPDX-License-Identifier: Apache-2.0
local t = require "lb.test"

local pools = {
  app = {
    { name = "stable", url = "http://a:1", meta = { track = "stable" } },
    { name = "canary", url = "http://b:2", meta = { track = "canary" } },
  },
}

t.config { script = "sticky_canary.lua", pools = pools }

local function client(i)
  return "/", { client = ("10.0.%d.%d"):format(i >> 8, i & 255) }
end

t.case("a share of the clients is taken in, and gets a cookie", function()
  local taken = 0
  for i = 1, 1000 do
    local got = t.get(client(i))
    if got.member == "canary" then
      t.expect(got).header("Set-Cookie")
      assert(got.headers["set-cookie"]:find("canary=1", 1, true))
      taken = taken + 1
    else
      t.expect(got).member("stable").header("Set-Cookie", false)
    end
  end
  assert(taken > 25 and taken < 80, taken)
end)

t.case("who was there stays there, without another cookie", function()
  local cookies = { cookies = { canary = "1" }, client = "10.0.0.1" }
  t.expect(t.get("/", cookies)).member("canary").header("Set-Cookie", false)
end)

t.case("better the other version than none", function()
  t.down("canary")
  t.expect(t.get("/", { cookies = { canary = "1" } })).member("stable")
end)

t.case("with a share of 0 it is over for everybody", function()
  t.config { script = "sticky_canary.lua", pools = pools, replace = { ["PERCENT = 5"] = "PERCENT = 0" } }
  t.expect(t.get("/", { cookies = { canary = "1" } })).member("stable")
end)
