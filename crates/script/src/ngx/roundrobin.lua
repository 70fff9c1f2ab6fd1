-- SPDX-License-Identifier: Apache-2.0
-- require "resty.roundrobin": weighted round robin by the greatest common divisor. Ids go in sorted
-- order, so that every thread has the same sequence.
local native, raw = ...
local pairs, setmetatable, tostring = raw.pairs, raw.setmetatable, raw.tostring
local class = {}
local meta = { __index = class, __metatable = false }

local function gcd(a, b)
  while b ~= 0 do
    a, b = b, a % b
  end
  return a
end

local function build(self, nodes)
  local ids, divisor, max = {}, 0, 0
  self.nodes = {}
  for id, weight in pairs(nodes) do
    weight = native.weight(tostring(id), weight)
    self.nodes[id] = weight
    ids[#ids + 1] = id
    divisor, max = gcd(divisor, weight), raw.math.max(max, weight)
  end
  raw.table.sort(ids, function(a, b)
    return tostring(a) < tostring(b)
  end)
  self.ids, self.gcd, self.max, self.at, self.weight = ids, divisor, max, 0, 0
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
