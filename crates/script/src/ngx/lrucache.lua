-- SPDX-License-Identifier: Apache-2.0
-- require "resty.lrucache": a bounded cache of this Lua state, the least recently used entries go
-- first.
local native, raw = ...
local setmetatable, type, error = raw.setmetatable, raw.type, raw.error
local class = { _VERSION = "0.15" }
local meta = { __index = class, __metatable = false }

-- A ring of entries around `head`: head.next was used last, head.prev is the next to go.
local function emptied(self)
  local head = {}
  head.next, head.prev = head, head
  self.head, self.entries, self.used = head, {}, 0
end

function class.new(size)
  if type(size) ~= "number" or size < 1 then
    return nil, "size too small"
  end
  local self = setmetatable({ size = size }, meta)
  emptied(self)
  return self
end

local function out(entry)
  entry.prev.next, entry.next.prev = entry.next, entry.prev
end

local function in_front(head, entry)
  entry.prev, entry.next = head, head.next
  head.next.prev, head.next = entry, entry
end

function class:set(key, value, ttl, flags)
  if key == nil then
    error("resty.lrucache: the key is nil", 2)
  end
  local entry = self.entries[key]
  if entry then
    out(entry)
  elseif self.used >= self.size then
    entry = self.head.prev
    out(entry)
    self.entries[entry.key] = nil
    self.entries[key] = entry
  else
    entry = {}
    self.entries[key], self.used = entry, self.used + 1
  end
  entry.key, entry.value, entry.flags = key, value, type(flags) == "number" and flags or 0
  entry.ends = ttl and native.time() + ttl or nil
  in_front(self.head, entry)
end

-- The value, and its flags; nil and the old value once its time is over.
function class:get(key)
  local entry = self.entries[key]
  if not entry then
    return nil
  end
  out(entry)
  in_front(self.head, entry)
  if entry.ends and entry.ends < native.time() then
    return nil, entry.value, entry.flags
  end
  return entry.value, nil, entry.flags
end

function class:delete(key)
  local entry = self.entries[key]
  if not entry then
    return false
  end
  out(entry)
  self.entries[key], self.used = nil, self.used - 1
  return true
end

function class:count()
  return self.used
end

function class:capacity()
  return self.size
end

function class:get_keys(max, into)
  local keys, count, entry = into or {}, 0, self.head.next
  while entry ~= self.head and (not max or max == 0 or count < max) do
    count = count + 1
    keys[count], entry = entry.key, entry.next
  end
  keys[count + 1] = nil
  return keys
end

function class:flush_all()
  emptied(self)
end

return class
