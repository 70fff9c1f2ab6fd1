-- insert, remove and sort for tables with a metatable. `raw` is Lua's library, `native` are functions of the runtime.
local raw, native = ...

local math_type, tointeger, tonumber, select, error = raw.math.type, raw.math.tointeger, raw.tonumber, raw.select, raw.error
local insert, remove, sort = raw.table.insert, raw.table.remove, raw.table.sort
local most = native.most
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

function slow.sort(t, ...)
  local last, list = length(t), {}
  for i = 1, last do
    list[i] = t[i]
  end
  sort(list, ...)
  for i = 1, last do
    t[i] = list[i]
  end
end

return slow
