-- SPDX-License-Identifier: Apache-2.0
-- Nodes with weights, which resty.chash, resty.roundrobin and resty.swrr choose among.
local native, raw = ...
local pairs, setmetatable, tostring = raw.pairs, raw.setmetatable, raw.tostring

-- A class of choosers. `choose` makes the tables of one: of its ids, which are in no order, and of
-- its `nodes`, the weights by id.
local function class_of(choose)
  local class = {}
  local meta = { __index = class, __metatable = false }

  local function build(self, nodes)
    local ids = {}
    self.nodes = {}
    for id, weight in pairs(nodes) do
      self.nodes[id] = native.weight(tostring(id), weight)
      ids[#ids + 1] = id
    end
    choose(self, ids)
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

  return class
end

return { class_of = class_of }
