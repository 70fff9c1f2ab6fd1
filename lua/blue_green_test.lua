-- SPDX-License-Identifier: Apache-2.0
local t = require "lb.test"

local pools = {
  app = {
    { name = "b", url = "http://b:1", meta = { colour = "blue" } },
    { name = "g", url = "http://g:2", meta = { colour = "green" } },
  },
}

t.config { script = "blue_green.lua", pools = pools }

t.case("everybody gets the live set", function()
  t.expect(t.many(10, "/")).member("b")
end)

t.case("a tester sees the idle one", function()
  t.expect(t.get("/", { cookies = { colour = "green" } })).member("g")
end)

t.case("a colour that there is not is no colour", function()
  t.expect(t.get("/", { cookies = { colour = "red" } })).member("b")
end)

t.case("one line switches", function()
  t.config { script = "blue_green.lua", pools = pools, replace = { ['LIVE = "blue"'] = 'LIVE = "green"' } }
  t.expect(t.many(10, "/")).member("g")
end)

t.case("a typing error in it is refused", function()
  local ok, why = pcall(t.config, {
    script = "blue_green.lua",
    pools = pools,
    replace = { ['LIVE = "blue"'] = 'LIVE = "gren"' },
  })
  assert(not ok and tostring(why):find("expected blue or green", 1, true), why)
end)
