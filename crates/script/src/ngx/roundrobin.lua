-- SPDX-License-Identifier: Apache-2.0
-- require "resty.roundrobin": weighted round robin by the greatest common divisor. Ids go in sorted
-- order, so that every thread has the same sequence.
local _, raw, nodes = ...
local tostring = raw.tostring

local function gcd(a, b)
  while b ~= 0 do
    a, b = b, a % b
  end
  return a
end

local class = nodes.class_of(function(self, ids)
  local divisor, max = 0, 0
  for _, id in raw.ipairs(ids) do
    divisor, max = gcd(divisor, self.nodes[id]), raw.math.max(max, self.nodes[id])
  end
  raw.table.sort(ids, function(a, b)
    return tostring(a) < tostring(b)
  end)
  self.ids, self.gcd, self.max, self.at, self.weight = ids, divisor, max, 0, 0
end)

function class:find()
  local ids = self.ids
  if #ids == 0 then
    return nil, "no nodes"
  end
  while true do
    self.at = self.at % #ids + 1
    if self.at == 1 then
      self.weight = self.weight - self.gcd
      if self.weight <= 0 then
        self.weight = self.max
      end
    end
    local id = ids[self.at]
    if self.nodes[id] >= self.weight then
      return id
    end
  end
end
class.next = class.find

return class
