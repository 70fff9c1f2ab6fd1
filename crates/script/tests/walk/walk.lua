-- SPDX-License-Identifier: Apache-2.0
-- Drives functions with lists of arguments. The request's args say which, a line for each: the path
-- of the function, 1 for a method, and the number of the list.
local text, nul = ("x"):rep(1 << 20), ("\0"):rep(1 << 20)
local numbers, texts, long = {}, {}, {}
for i = 1, 100000 do
  numbers[i], texts[i] = i, text
end
local spaces = (" "):rep(4000)
for i = 1, 500 do
  long[i] = spaces .. 10 + i % 20
end
local chained = {}
for _ = 1, 1900 do
  chained = setmetatable({}, { __index = chained, __newindex = chained })
end
local function endless()
  while true do end
end
local function proxy(f)
  return setmetatable({}, {
    __index = f, __newindex = f, __len = function() return 1 << 30 end, __tostring = f, __pairs = f, __close = f, __call = f,
    __concat = f, __eq = f, __lt = f, __le = f, __name = text,
  })
end
local cyclic = {}
cyclic.cyclic, cyclic[1], cyclic[2] = cyclic, cyclic, cyclic
local shared, deep = {}, {}
for _ = 1, 40 do
  shared = { shared, shared }
end
for _ = 1, 20000 do
  deep = { deep }
end
local itself = {}
setmetatable(itself, { __call = itself })

local lists = {
  function() return text, text, text end,
  function() return nul, nul .. "b", nul end,
  function() return text:rep(6), "", 1 end,
  function() return text, ".", print end,
  function() return text, "(.)", "%1%1%1%1" end,
  function() return text, ".", chained end,
  function() return text:sub(1, 20000), (".-"):rep(8) .. "b" end,
  function() return long, tonumber end,
  function() return { text, text, text, text .. "a", text .. "b" }, string.find end,
  function() return proxy(rawlen), "", 1, 1 << 53 end,
  function() return proxy(tostring), 1, 1 << 30 end,
  function() return proxy(string.rep), proxy(string.rep) end,
  function() return proxy(endless), 1, 2 end,
  function() return chained, "", 1, 300000 end,
  function() return chained, 1, 300000, 2, chained end,
  function() return numbers, 1, 1 end,
  function() return math.maxinteger, math.mininteger, -1, 0 / 0 end,
  function() return 1, math.maxinteger, 1e308, math.maxinteger end,
  function() return text, 1 << 40, text end,
  function() return table.unpack(numbers) end,
  function() return table.unpack(texts) end,
  function() return ("%99.99f"):rep(2000), table.unpack(numbers, 1, 2000) end,
  function() return ("%q%s%c"):rep(3e5), nul, text, 65 end,
  function() return ("b!"):rep(3e5), table.unpack(numbers, 1, 900) end,
  function() return cyclic, cyclic, cyclic end,
  function() return shared, shared end,
  function() return "key", shared end,
  function() return deep, deep end,
  function() return { host = text, url = text, name = text, [text] = text, key = text, value = text } end,
  function() return coroutine.create(endless), endless end,
  function() return endless, endless, endless end,
  function() return itself, itself end,
  function() return "[" .. ('{"a":0},'):rep(2e5) .. "0]" end,
  function() return '"' .. ("\\n"):rep(9e5) .. '"' end,
  function() return ("a=b%20&"):rep(5e5), 0 end,
  function() return "x = " .. ("a or "):rep(12000) .. "a" end,
  function() return "d", text, numbers end,
  function() return "(*LIMIT_MATCH=9999999)(a+)+b", text end,
  function() return "app", numbers end,
}

-- The result of the step before.
local kept
lists[#lists + 1] = function() return kept, kept, kept end
lists[#lists + 1] = function() return text, kept, kept end

local made = {}
local function object_of(path)
  made[path] = made[path] or assert(load("return " .. path))()
  return made[path]
end

local operations = {
  __index = function(object, key) return object[key] end,
  __newindex = function(object, key, value) object[key] = value end,
  __pairs = function(object) for _ in pairs(object) do end end,
  __len = function(object) return #object end,
  __tostring = tostring,
}

local function drive(path, with_self, list)
  local owner, name = path:match("^(.*)%.([%w_]+)$")
  local object = owner and object_of(owner) or _G
  name = name or path
  if operations[name] then
    return operations[name](object, lists[list]())
  end
  local f = not path:find("[%w_]$") and object_of(path) or object[name]
  if with_self then
    return f(object, lists[list]())
  end
  return f(lists[list]())
end

function f(request)
  r = request
  if request.args == "count" then
    return nil, tostring(#lists)
  end
  local steps = request.args
  r.args = ("a=b%20&"):rep(3e5)
  for path, with_self, list in steps:gmatch("([^\n]-) ([01]) (%d+)\n") do
    kept = drive(path, with_self == "1", tonumber(list))
  end
  return 204
end
