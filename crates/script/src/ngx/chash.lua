-- require "resty.chash": consistent hashing, the points that nginx makes.
local native, raw = ...
local pairs, setmetatable, tostring, error = raw.pairs, raw.setmetatable, raw.tostring, raw.error
local class = {}
local meta = { __index = class, __metatable = false }

local function build(self, nodes)
  local ids, list = {}, {}
  self.nodes = {}
  for id, weight in pairs(nodes) do
    -- 2/1 and "1" are weights as well.
    local number = raw.math.tointeger(raw.tonumber(weight))
    if not number or number < 0 then
      error("weight of " .. tostring(id) .. ": expected a whole number from 0, found " .. tostring(weight), 3)
    end
    weight = number
    self.nodes[id] = weight
    ids[#ids + 1] = id
  end
  raw.table.sort(ids)
  local all = 0
  for _, id in raw.ipairs(ids) do
    list[#list + 1] = id
    list[#list + 1] = self.nodes[id]
    all = all + self.nodes[id]
  end
  self.ring, self.first = native.ring(list), all == 0 and ids[1] or nil
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

function class:find(key)
  -- When no node has a weight, one of them is better than none.
  if self.first ~= nil then
    return self.first, 1
  end
  return self.ring:find(tostring(key))
end

function class:next(index)
  return self.ring:next(index)
end

return class
