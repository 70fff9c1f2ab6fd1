-- SPDX-License-Identifier: Apache-2.0
local t = require "lb.test"

t.config {
  script = "geo.lua",
  pools = {
    app = {
      { name = "china", url = "http://a:1", zone = "china" },
      { name = "usa", url = "http://b:2", zone = "usa" },
      { name = "rest", url = "http://c:3", zone = "rest" },
    },
  },
  places = {
    ["192.0.2.1"] = { country = "CN" },
    ["192.0.2.2"] = { country = "US" },
    ["192.0.2.3"] = { country = "GB" },
  },
}

t.case("each country has its members", function()
  t.expect(t.get("/", { client = "192.0.2.1" })).member("china")
  t.expect(t.get("/", { client = "192.0.2.2" })).member("usa")
  t.expect(t.get("/", { client = "192.0.2.3" })).member("rest")
end)

t.case("an address that nobody knows is the rest of the world", function()
  t.expect(t.get("/", { client = "10.0.0.1" })).member("rest")
end)

t.case("better far away than not at all", function()
  t.down("china")
  local got = t.get("/", { client = "192.0.2.1" })
  assert(got.member == "usa" or got.member == "rest")
end)
