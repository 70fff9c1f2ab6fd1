-- SPDX-License-Identifier: Apache-2.0
-- require "table.new" and its like: LuaJIT's functions for tables.
local _, raw = ...
local next, type = raw.next, raw.type
local library = {}

-- Room is made as a table grows.
function library.new()
  return {}
end

function library.clear(t)
  for key in next, t do
    t[key] = nil
  end
end

function library.nkeys(t)
  local count = 0
  for _ in next, t do
    count = count + 1
  end
  return count
end

function library.isempty(t)
  return next(t) == nil
end

function library.isarray(t)
  local count = 0
  for key in next, t do
    if raw.math.type(key) ~= "integer" or key < 1 then
      return false
    end
    count = count + 1
  end
  return count == #t
end

function library.clone(t)
  if type(t) ~= "table" then
    raw.error("bad argument #1 to 'clone' (table expected, got " .. type(t) .. ")", 2)
  end
  local copy = {}
  for key, value in next, t do
    copy[key] = value
  end
  return copy
end

return library
