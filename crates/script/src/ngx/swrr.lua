-- SPDX-License-Identifier: Apache-2.0
-- require "resty.swrr": smooth weighted round robin, ids in sorted order.
local _, raw, nodes = ...
local tostring = raw.tostring

local class = nodes.class_of(function(self, ids)
  local list = {}
  raw.table.sort(ids, function(a, b)
    return tostring(a) < tostring(b)
  end)
  for at, id in raw.ipairs(ids) do
    list[at] = { id = id, weight = self.nodes[id], current = 0 }
  end
  self.list = list
end)

function class:find()
  local best, total = nil, 0
  for _, node in raw.ipairs(self.list) do
    node.current = node.current + node.weight
    total = total + node.weight
    if not best or node.current > best.current then
      best = node
    end
  end
  if not best then
    return nil, "no nodes"
  end
  best.current = best.current - total
  return best.id
end
class.next = class.find

return class
