-- SPDX-License-Identifier: Apache-2.0
-- The module of `require "lb.test"`. `native` are the functions of the program.
local native = ...

local t = {}

t.config, t.case, t.get, t.many = native.config, native.case, native.get, native.many
t.up, t.down, t.drain, t.enable, t.disable = native.up, native.down, native.drain, native.enable, native.disable
t.weight, t.slow, t.remove, t.add = native.weight, native.slow, native.remove, native.add
t.advance, t.inflight, t.time, t.place = native.advance, native.inflight, native.time, native.place
t.seed, t.latency = native.seed, native.latency

local function fail(got, expected, came)
  native.fail(expected, came, got.told)
end

local function sorted(counts)
  local names, parts = {}, {}
  for name in pairs(counts) do
    names[#names + 1] = name
  end
  table.sort(names)
  for n, name in ipairs(names) do
    parts[n] = name .. " " .. counts[name]
  end
  return #parts > 0 and table.concat(parts, ", ") or "nobody"
end

-- The end of a request, in words.
local function came(got)
  if got.counts then
    return sorted(got.counts) .. " of " .. got.total
  elseif got.moved then
    return "moved: " .. sorted(got.moved) .. " of " .. got.total
  elseif got.member then
    return "member " .. got.member .. (got.pool and " of pool " .. got.pool or "")
  elseif got.target then
    return "target " .. got.target
  elseif got.declined then
    return "declined"
  end
  local why = got.message or got.reason
  return "status " .. tostring(got.status) .. (why and why ~= "" and " (" .. why .. ")" or "")
end

local function expectations(got)
  local to = {}
  local function check(holds, expected, found)
    if not holds then
      fail(got, expected, found or came(got))
    end
    return to
  end
  function to.member(name)
    return check(got.member == name, "member " .. tostring(name))
  end
  function to.pool(name)
    return check(got.pool == name, "pool " .. tostring(name))
  end
  function to.target(url)
    return check(got.target == url, "target " .. tostring(url))
  end
  function to.status(status)
    return check(got.status == status, "status " .. tostring(status))
  end
  function to.declined()
    return check(got.declined, "declined")
  end
  function to.reason(word)
    return check(got.reason == word, "reason " .. tostring(word), "reason " .. tostring(got.reason))
  end
  function to.method(word)
    return check(got.method == word, "method " .. tostring(word), "method " .. tostring(got.method))
  end
  function to.body(text)
    return check(got.body == text, "body " .. tostring(text), "body " .. tostring(got.body))
  end
  function to.header(name, value)
    local found = (got.headers or {})[name:lower()]
    local shown = "header " .. name .. ": " .. tostring(found)
    if value == nil then
      return check(found ~= nil, "a header " .. name, shown)
    elseif value == false then
      return check(found == nil, "no header " .. name, shown)
    end
    return check(found == tostring(value), "header " .. name .. ": " .. tostring(value), shown)
  end
  function to.logged(text)
    local lines = table.concat(got.log or {}, "\n")
    return check(lines:find(text, 1, true), "a line of the log with: " .. text, lines == "" and "no line" or lines)
  end
  function to.share(shares, tolerance)
    tolerance = tolerance or 0.02
    local counts, total = got.counts or (got.member and { [got.member] = 1 } or {}), got.total or 1
    local names = {}
    for name in pairs(shares) do
      names[#names + 1] = name
    end
    table.sort(names)
    for _, name in ipairs(names) do
      local found = (counts[name] or 0) / total
      local expected = ("share of %s: %.4f, give or take %.4f"):format(name, shares[name], tolerance)
      check(math.abs(found - shares[name]) <= tolerance, expected, ("%.4f (%s)"):format(found, came(got)))
    end
    return to
  end
  function to.moved_only_from(...)
    local allowed = {}
    for _, name in ipairs({ ... }) do
      allowed[name] = true
    end
    for name in pairs(got.moved or { ["no keys"] = 1 }) do
      check(allowed[name], "moved only from " .. table.concat({ ... }, ", "))
    end
    return to
  end
  return to
end

function t.expect(got)
  if type(got) ~= "table" then
    error("t.expect: expected what t.get, t.many or t.moved gave, found a " .. type(got), 2)
  end
  return expectations(got)
end

-- Requests that differ by client and path, or whatever `make(i)` gives: a path, and options.
function t.keys(n, make)
  local keys = {}
  for i = 1, n do
    if make then
      keys[i] = table.pack(make(i))
    else
      local client = ("10.%d.%d.%d"):format(i >> 16 & 255, i >> 8 & 255, i & 255)
      keys[i] = { "/key/" .. i, { client = client } }
    end
  end
  return keys
end

local function members_of(keys)
  local found = {}
  for n, key in ipairs(keys) do
    local got = native.quick(key[1], key[2])
    found[n] = got or "nobody"
  end
  return found
end

-- Which of these requests get another member by a change.
function t.moved(change, keys)
  local before = members_of(keys)
  change()
  local after, moved, count = members_of(keys), {}, 0
  for n, member in ipairs(before) do
    if after[n] ~= member then
      moved[member] = (moved[member] or 0) + 1
      count = count + 1
    end
  end
  return { moved = moved, count = count, total = #keys, told = native.last() }
end

return t
