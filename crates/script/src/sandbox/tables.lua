-- SPDX-License-Identifier: Apache-2.0
-- Functions of `table` for tables with a metatable, and for large ones: in Lua, where a hook can
-- end them. `raw` is Lua's library, `native` are functions of the runtime.
local raw, native = ...

local math_type, tointeger, tonumber, select, error = raw.math.type, raw.math.tointeger, raw.tonumber, raw.select, raw.error
local getmetatable = raw.getmetatable
local insert, remove, sort = raw.table.insert, raw.table.remove, raw.table.sort
local concat, unpack, move, type = raw.table.concat, raw.table.unpack, raw.table.move, raw.type
local most = native.most
local math_max = raw.math.maxinteger
local slow = {}

local function length(t)
  local n = #t
  if math_type(n) ~= "integer" then
    error("object length is not an integer", 3)
  elseif n > most() then
    error("table is too long (" .. n .. " elements)", 3)
  end
  return n
end

local function integer(value)
  return tointeger(tonumber(value or 0) or 0)
end

function slow.insert(t, ...)
  if select("#", ...) ~= 2 then
    return insert(t, ...)
  end
  local pos, value = ...
  local last = length(t) + 1
  pos = integer(pos)
  if not pos or pos < 1 or pos > last then
    error("bad argument #2 to 'insert' (position out of bounds)", 2)
  end
  for i = last, pos + 1, -1 do
    t[i] = t[i - 1]
  end
  t[pos] = value
end

function slow.remove(t, ...)
  if select("#", ...) == 0 then
    return remove(t)
  end
  local last = length(t)
  local pos = integer((...))
  if not pos or pos ~= last and (pos < 1 or pos > last + 1) then
    error("bad argument #2 to 'remove' (position out of bounds)", 2)
  end
  local value = t[pos]
  for i = pos, last - 1 do
    t[i] = t[i + 1]
  end
  t[last > pos and last or pos] = nil
  return value
end

local function less(a, b)
  return a < b
end

-- Elements, and bytes of them, that C code may compare, which no hook interrupts.
local most_sorted, most_bytes = 2000, 1 << 20

local function is_quick(t, n)
  if n > most_sorted then
    return false
  end
  local bytes = 0
  for i = 1, n do
    local value = t[i]
    local kind = type(value)
    if kind == "string" then
      bytes = bytes + #value
    elseif kind ~= "number" then
      return false
    end
  end
  return bytes <= most_bytes
end

function slow.sort(t, before)
  if type(t) ~= "table" then
    return sort(t, before)
  elseif getmetatable(t) == nil then
    return sort(t, before or not is_quick(t, #t) and less or nil)
  end
  before = before or less
  local last, list = length(t), {}
  for i = 1, last do
    list[i] = t[i]
  end
  sort(list, before)
  for i = 1, last do
    t[i] = list[i]
  end
end

-- Elements that are put together at once.
local piece = 4096

function slow.concat(t, sep, i, j)
  local first, last = integer(i or 1), j == nil and length(t) or integer(j)
  if not first or not last or sep ~= nil and type(sep) ~= "string" and type(sep) ~= "number" then
    return concat({}, sep, i, j)
  end
  local out, list, n = {}, {}, 0
  for k = first, last do
    local value = t[k]
    local kind = type(value)
    if kind ~= "string" and kind ~= "number" then
      error("invalid value (at index " .. k .. ") in table for 'concat'", 2)
    end
    n = n + 1
    list[n] = value
    if n == piece then
      out[#out + 1] = concat(list, sep)
      n = 0
    end
  end
  if n > 0 then
    out[#out + 1] = concat(list, sep, 1, n)
  end
  return concat(out, sep)
end

-- The number of values that Lua's stack has room for.
local most_values = 1000000

function slow.unpack(t, i, j)
  local first, last = integer(i or 1), j == nil and length(t) or integer(j)
  if not first or not last then
    return unpack({}, i, j)
  elseif last >= first and (last - first < 0 or last - first >= most_values) then
    error("too many results to unpack", 2)
  end
  local list, n = {}, 0
  for k = first, last do
    n = n + 1
    list[n] = t[k]
  end
  return unpack(list, 1, n)
end

function slow.move(a, from, to, at, b)
  local first, last, start = integer(from), integer(to), integer(at)
  local target = b == nil and a or b
  if type(a) ~= "table" or type(target) ~= "table" or not first or not last or not start then
    return move({}, from, to, at, target)
  elseif last < first then
    return target
  elseif start > math_max - (last - first) then
    error("bad argument #4 to 'move' (destination wrap around)", 2)
  end
  if start > last or start <= first or target ~= a then
    for k = 0, last - first do
      target[start + k] = a[first + k]
    end
  else
    for k = last - first, 0, -1 do
      target[start + k] = a[first + k]
    end
  end
  return target
end

return slow
