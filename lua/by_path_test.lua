-- SPDX-License-Identifier: Apache-2.0
local t = require "lb.test"

t.config {
  script = "by_path.lua",
  pools = {
    app = { "http://app:1" },
    api = { "http://api:2" },
    static = { "http://static:3" },
  },
}

t.case("each part has its pool", function()
  t.expect(t.get("/api/x")).pool("api")
  t.expect(t.get("/images/a.png")).pool("static")
  t.expect(t.get("/css")).pool("static")
  t.expect(t.get("/app/")).pool("app")
end)

t.case("the rest stays with httpd", function()
  for _, path in ipairs { "/", "/apis/x", "/other/api" } do
    t.expect(t.get(path)).declined()
  end
end)
