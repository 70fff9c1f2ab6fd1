-- SPDX-License-Identifier: Apache-2.0
-- require "resty.swrr": smooth weighted round robin, ids in sorted order.
local native, raw = ...
local pairs, setmetatable, tostring = raw.pairs, raw.setmetatable, raw.tostring
local class = {}
local meta = { __index = class, __metatable = false }

local function build(self, nodes)
  local list = {}
  self.nodes = {}
  for id, weight in pairs(nodes) do
    weight = native.weight(tostring(id), weight)
    self.nodes[id] = weight
    list[#list + 1] = { id = id, weight = weight, current = 0 }
  end
  raw.table.sort(list, function(a, b)
    return tostring(a.id) < tostring(b.id)
  end)
  self.list = list
end

function class.new(_, nodes)
  local self = setmetatable({}, meta)
  build(self, nodes)
  return self
end

function class:reinit(nodes)
  build(self, nodes)
end

function class:set(id, weight)
  local nodes = self.nodes
  weight = raw.tonumber(weight) or 0
  nodes[id] = weight > 0 and weight or nil
  build(self, nodes)
end

function class:delete(id)
  self:set(id, nil)
end

function class:incr(id, weight)
  self:set(id, (self.nodes[id] or 0) + (raw.tonumber(weight) or 1))
end

function class:decr(id, weight)
  self:set(id, (self.nodes[id] or 0) - (raw.tonumber(weight) or 1))
end

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
