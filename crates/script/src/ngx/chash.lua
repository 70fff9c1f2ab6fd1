-- SPDX-License-Identifier: Apache-2.0
-- require "resty.chash": consistent hashing, the points that nginx makes.
local native, raw = ...
local pairs, setmetatable, tostring = raw.pairs, raw.setmetatable, raw.tostring
local class = {}
local meta = { __index = class, __metatable = false }

local function build(self, nodes)
  local ids, list = {}, {}
  self.nodes = {}
  for id, weight in pairs(nodes) do
    weight = native.weight(tostring(id), weight)
    self.nodes[id] = weight
    ids[#ids + 1] = id
  end
  raw.table.sort(ids)
  for _, id in raw.ipairs(ids) do
    list[#list + 1] = id
    list[#list + 1] = self.nodes[id]
  end
  self.ring = native.ring(list)
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

function class:find(key)
  return self.ring:find(tostring(key))
end

function class:next(index)
  return self.ring:next(index)
end

return class
