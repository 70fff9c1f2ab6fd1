-- require "resty.swrr": smooth weighted round robin, ids in sorted order.
local _, raw = ...
local pairs, setmetatable, tostring, error = raw.pairs, raw.setmetatable, raw.tostring, raw.error
local class = {}
local meta = { __index = class, __metatable = false }

local function build(self, nodes)
  local list = {}
  self.nodes = {}
  for id, weight in pairs(nodes) do
    -- 2/1 and "1" are weights as well.
    local number = raw.math.tointeger(raw.tonumber(weight))
    if not number or number < 0 then
      error("weight of " .. tostring(id) .. ": expected a whole number from 0, found " .. tostring(weight), 3)
    end
    weight = number
    self.nodes[id] = weight
    if weight > 0 then
      list[#list + 1] = { id = id, weight = weight, current = 0 }
    end
  end
  if not list[1] then
    -- When no node has a weight, they take turns.
    for id in pairs(nodes) do
      list[#list + 1] = { id = id, weight = 1, current = 0 }
    end
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
  nodes[id] = weight and weight > 0 and weight or nil
  build(self, nodes)
end

function class:delete(id)
  self:set(id, nil)
end

function class:incr(id, weight)
  self:set(id, (self.nodes[id] or 0) + (weight or 1))
end

function class:decr(id, weight)
  self:set(id, (self.nodes[id] or 0) - (weight or 1))
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
