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
  for path, pool in pairs { ["/api/x"] = "api", ["/images/a.png"] = "static", ["/css"] = "static", ["/app/"] = "app" } do
    t.expect(t.get(path)).pool(pool)
  end
end)

t.case("the rest stays with httpd", function()
  for _, path in ipairs { "/", "/apis/x", "/other/api" } do
    t.expect(t.get(path)).declined()
  end
end)
