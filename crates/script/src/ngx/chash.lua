-- SPDX-License-Identifier: Apache-2.0
-- require "resty.chash": consistent hashing, the points that nginx makes.
local native, raw, nodes = ...
local tostring = raw.tostring

local class = nodes.class_of(function(self, ids)
  local list = {}
  raw.table.sort(ids)
  for _, id in raw.ipairs(ids) do
    list[#list + 1] = id
    list[#list + 1] = self.nodes[id]
  end
  self.ring = native.ring(list)
end)

function class:find(key)
  return self.ring:find(tostring(key))
end

function class:next(index)
  return self.ring:next(index)
end

return class
