-- SPDX-License-Identifier: Apache-2.0
local t = require "lb.test"

local pools = { app = { { name = "a", url = "http://a:1" }, { name = "b", url = "http://b:2" } } }
local CANDIDATE = "return app:consistent_hash(r.useragent_ip)"

local function with(candidate)
  t.config {
    script = "shadow.lua",
    finish = "finish",
    pools = pools,
    replace = candidate and { [CANDIDATE] = candidate } or nil,
  }
end

with(nil)

t.case("a line for each request that would go elsewhere", function()
  local lines = 0
  for i = 1, 40 do
    local got = t.get("/x", { client = "192.0.2." .. i })
    if #got.log > 0 then
      t.expect(got).logged("shadow: /x went to " .. got.member .. ", the candidate says ")
      lines = lines + 1
    end
  end
  assert(lines > 5 and lines < 35, lines)
end)

t.case("a candidate that agrees is silent", function()
  with("return app:hash(r.useragent_ip)")
  t.expect(#t.get("/x").log == 0 and t.get("/x") or {}).status(200)
end)

t.case("a candidate that fails hurts nobody", function()
  with("error('oh no')")
  t.expect(t.get("/x")).status(200).logged("the candidate fails")
end)

t.case("a candidate may be anything", function()
  with("return 503")
  t.expect(t.get("/x")).logged("the candidate says 503")
end)
