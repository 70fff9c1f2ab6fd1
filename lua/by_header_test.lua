-- SPDX-License-Identifier: Apache-2.0
local t = require "lb.test"

t.config {
  script = "by_header.lua",
  pools = {
    app = {
      { name = "one", url = "http://a:1", meta = { version = "1" } },
      { name = "two", url = "http://b:2", meta = { version = "2" } },
    },
  },
}

t.case("without a word it is the usual version", function()
  t.expect(t.get("/")).member("one")
end)

t.case("the header goes before the cookie", function()
  t.expect(t.get("/", { headers = { ["X-App-Version"] = "2" }, cookies = { app_version = "1" } })).member("two")
  t.expect(t.get("/", { cookies = { app_version = "2" } })).member("two")
end)

t.case("a version that there is not is the usual one", function()
  t.expect(t.get("/", { headers = { ["X-App-Version"] = "9" } })).member("one")
end)
