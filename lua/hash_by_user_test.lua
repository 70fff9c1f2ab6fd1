-- SPDX-License-Identifier: Apache-2.0
local t = require "lb.test"

t.config {
  script = "hash_by_user.lua",
  hook = "select",
  pools = {
    app = {
      { name = "a", url = "http://a:1" },
      { name = "b", url = "http://b:2" },
      { name = "c", url = "http://c:3" },
    },
  },
}

-- A thousand requests of one kind of key.
local function keys(option)
  return t.keys(1000, function(i)
    return "/", option("k" .. i)
  end)
end

local kinds = {
  { "user", function(key) return { user = key, client = "192.0.2.1" } end },
  { "API key", function(key) return { headers = { ["X-Api-Key"] = key } } end },
  { "session", function(key) return { cookies = { session = key } } end },
}

for _, kind in ipairs(kinds) do
  t.case("the " .. kind[1] .. " decides, and only a lost member's keys move", function()
    local moved = t.moved(function() t.down("b") end, keys(kind[2]))
    t.expect(moved).moved_only_from("b")
    assert(moved.count > 200)
  end)
end

t.case("a user is another one than an API key of that name", function()
  local differ = 0
  for i = 1, 100 do
    local user = t.get("/", { user = "k" .. i })
    local key = t.get("/", { headers = { ["X-Api-Key"] = "k" .. i } })
    differ = differ + (user.member == key.member and 0 or 1)
  end
  assert(differ > 30)
end)

t.case("the address is the last resort", function()
  local first = t.get("/", { client = "192.0.2.7" })
  t.expect(t.get("/other", { client = "192.0.2.7" })).member(first.member)
end)
