-- SPDX-License-Identifier: Apache-2.0
local t = require "lb.test"

t.config { script = "time_of_day.lua", pools = { day = { "http://d:1" }, night = { "http://n:2" } } }

t.case("working hours begin at 8 and end at 18, an hour ahead of UTC", function()
  for time, pool in pairs {
    ["2026-11-30T06:59:59Z"] = "night",
    ["2026-11-30T07:00:00Z"] = "day",
    ["2026-11-30T16:59:59Z"] = "day",
    ["2026-11-30T17:00:00Z"] = "night",
  } do
    t.time(time)
    t.expect(t.get("/")).pool(pool)
  end
end)

t.case("the weekend is night", function()
  t.time("2026-11-28T12:00:00Z")
  t.expect(t.get("/")).pool("night")
  t.advance(24 * 3600)
  t.expect(t.get("/")).pool("night")
  t.advance(24 * 3600)
  t.expect(t.get("/")).pool("day")
end)
