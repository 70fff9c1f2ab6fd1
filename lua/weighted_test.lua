-- SPDX-License-Identifier: Apache-2.0
local t = require "lb.test"

t.config { script = "weighted.lua" }

t.case("the script's own pool serves by its weights", function()
  t.expect(t.many(400, "/")).pool("weighted").share({
    ["192.168.1.10:8080"] = 1 / 4,
    ["192.168.1.11:8080"] = 2 / 4,
    ["192.168.1.12:8080"] = 1 / 4,
  }, 0.001)
end)

t.case("who is down gets nothing", function()
  t.down("192.168.1.11:8080")
  t.expect(t.many(100, "/")).share({ ["192.168.1.10:8080"] = 0.5, ["192.168.1.12:8080"] = 0.5 }, 0.001)
end)
