-- require "resty.lrucache": a cache of one Lua state, the least recently used go first.
local native, raw = ...
local setmetatable, type, error = raw.setmetatable, raw.type, raw.error
local class = {}
local meta = { __index = class, __metatable = false }

function class.new(size)
  if type(size) ~= "number" or size < 1 then
    return nil, "size too small"
  end
  local ends = {}
  ends.after, ends.before = ends, ends
  return setmetatable({ size = size, count_ = 0, known = {}, ends = ends }, meta)
end

local function unlink(node)
  node.before.after, node.after.before = node.after, node.before
end

local function put_first(self, node)
  local ends = self.ends
  node.before, node.after = ends, ends.after
  ends.after.before, ends.after = node, node
end

function class:get(key)
  local node = self.known[key]
  if not node then
    return nil
  end
  unlink(node)
  put_first(self, node)
  if node.ends and node.ends <= native.time() then
    return nil, node.value, node.flags
  end
  return node.value, nil, node.flags
end

function class:set(key, value, seconds, flags)
  if key == nil then
    error("bad argument #1 (a key expected, got nil)", 2)
  end
  local node = self.known[key]
  if node then
    unlink(node)
  else
    if self.count_ >= self.size then
      self:delete(self.ends.before.key)
    end
    node = { key = key }
    self.known[key] = node
    self.count_ = self.count_ + 1
  end
  put_first(self, node)
  node.value, node.flags = value, flags or 0
  node.ends = seconds and seconds > 0 and native.time() + seconds or nil
end

function class:delete(key)
  local node = self.known[key]
  if not node then
    return false
  end
  unlink(node)
  self.known[key] = nil
  self.count_ = self.count_ - 1
  return true
end

function class:count()
  return self.count_
end

function class:capacity()
  return self.size
end

function class:get_keys(max)
  local keys, node = {}, self.ends.after
  while node ~= self.ends and (not max or max == 0 or #keys < max) do
    keys[#keys + 1] = node.key
    node = node.after
  end
  return keys
end

function class:flush_all()
  self.known, self.count_ = {}, 0
  self.ends.after, self.ends.before = self.ends, self.ends
end

return class
