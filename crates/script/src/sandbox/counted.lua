-- SPDX-License-Identifier: Apache-2.0
-- The functions of `string` that search, for what the plain matcher may not have: with steps
-- counted (pattern.rs). `raw` is Lua's library, `native` are functions of the runtime. No methods
-- of strings here: a script may have replaced them.
local raw, native = ...

local type, select, tostring, tonumber, error = raw.type, raw.select, raw.tostring, raw.tonumber, raw.error
local find, gsub, sub, concat = raw.string.find, raw.string.gsub, raw.string.sub, raw.table.concat
local checked_find, find_plain = native.find, native.find_plain
local counted = {}

local function first(init, s)
  init = init or 1
  if init < 0 then
    init = #s + init + 1
  end
  return init < 1 and 1 or init
end

function counted.find(s, p, init, plain)
  s = tostring(s)
  if plain then
    return find_plain(s, p, first(init, s))
  end
  return checked_find(s, p, first(init, s), true)
end

local function captures(from, to, s, ...)
  if not from then
    return nil
  end
  if select("#", ...) == 0 then
    return sub(s, from, to)
  end
  return ...
end

local function with_subject(s, from, to, ...)
  return captures(from, to, s, ...)
end

function counted.match(s, p, init)
  s = tostring(s)
  return with_subject(s, checked_find(s, p, first(init, s), true))
end

function counted.gmatch(s, p, init)
  s = tostring(s)
  local at, last = first(init, s), -1
  local function step(from, to, ...)
    if not from then
      at = #s + 2
      return nil
    end
    -- An empty match right after the last one does not count.
    if to < from and to == last then
      at = from + 1
      return true
    end
    at, last = to < from and from or to + 1, to
    return false, captures(from, to, s, ...)
  end
  local function pass(again, ...)
    if again then
      return pass(step(checked_find(s, p, at, false)))
    end
    return ...
  end
  return function()
    if at > #s + 1 then
      return nil
    end
    return pass(step(checked_find(s, p, at, false)))
  end
end

local function replacement(repl, whole, ...)
  local key = ...
  if select("#", ...) == 0 then
    key = whole
  end
  local value
  if type(repl) == "function" then
    if select("#", ...) == 0 then
      value = repl(whole)
    else
      value = repl(...)
    end
  elseif type(repl) == "table" then
    value = repl[key]
  else
    local list = { ... }
    value = gsub(repl, "%%(.?)", function(c)
      if c == "0" then
        return whole
      elseif c == "%" then
        return "%"
      elseif c == "1" then
        return tostring(key)
      elseif find(c, "^%d$") and list[tonumber(c)] ~= nil then
        return tostring(list[tonumber(c)])
      end
      error("invalid use of '%' in replacement string", 0)
    end)
  end
  if not value then
    return whole
  elseif type(value) ~= "string" and type(value) ~= "number" then
    error("invalid replacement value (a " .. type(value) .. ")", 0)
  end
  return value
end

function counted.gsub(s, p, repl, n)
  s = tostring(s)
  local kind = type(repl)
  if kind == "number" then
    repl = tostring(repl)
  elseif kind ~= "string" and kind ~= "function" and kind ~= "table" then
    error("bad argument #3 to 'gsub' (string/function/table expected, got " .. kind .. ")", 2)
  end
  local out, count, at, last = {}, 0, 1, 0
  local anchored = sub(p, 1, 1) == "^"
  local function step(from, to, ...)
    if not from then
      return false
    end
    if to < from and to == last and from > 1 and last > 0 then
      -- An empty match right after the last one does not count.
      if from <= #s then
        out[#out + 1] = sub(s, from, from)
      end
      at, last = from + 1, 0
      return true
    end
    out[#out + 1] = sub(s, at, from - 1)
    out[#out + 1] = replacement(repl, sub(s, from, to), ...)
    count = count + 1
    if to < from then
      if from <= #s then
        out[#out + 1] = sub(s, from, from)
      end
      at, last = from + 1, 0
    else
      at, last = to + 1, to
    end
    return not anchored
  end
  while at <= #s + 1 and (not n or count < n) and step(checked_find(s, p, at, anchored)) do
  end
  out[#out + 1] = sub(s, at)
  return concat(out), count
end

return counted
