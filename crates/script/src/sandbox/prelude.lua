-- SPDX-License-Identifier: Apache-2.0
-- Lua's own library as scripts see it: the same names, read-only, bounded in time and memory.
-- `raw` is Lua's library, `native` are functions of the runtime. Returns a maker of environments.
local raw, native, open = ...

local type, select, tostring, rawget, rawset, next, error = type, select, tostring, rawget, rawset, next, error
local setmetatable, getmetatable, pcall, xpcall = setmetatable, getmetatable, pcall, xpcall
local math_type, tointeger, tonumber = math.type, math.tointeger, tonumber

local protected = setmetatable({}, { __mode = "k" })

local function refuse(proxy, k)
  error("'" .. protected[proxy].name .. "' is shared by all scripts and cannot be changed (field '" .. tostring(k) .. "')", 2)
end

local function each(proxy)
  local t, key = protected[proxy].__index, nil
  return function()
    local value
    key, value = next(t, key)
    return key, value
  end
end

-- A table that scripts can read but not change.
local function protect(t, name)
  local proxy = {}
  local meta = { __index = t, __newindex = refuse, __pairs = each, __metatable = false, name = name }
  protected[proxy] = meta
  return setmetatable(proxy, meta)
end

-- The libraries: each script has a layer over each of them, which is empty and asks the shared one
-- until the script changes it, or looks into it. Then all that is there is put into it, and it is a
-- table like any other.
local layers, strings = setmetatable({}, { __mode = "k" }), setmetatable({}, { __mode = "k" })

local function fill(layer)
  local meta = layers[layer]
  if not meta then
    return
  end
  -- The call may end between any two of these.
  local owner = strings[layer]
  if owner then
    native.own_strings(layer, owner.script, owner.version)
  end
  for k, v in next, meta.__index do
    rawset(layer, k, v)
  end
  layers[layer] = nil
  native.bare(layer)
end

local function change(layer, k, v)
  fill(layer)
  rawset(layer, k, v)
end

local libraries = {}
local function library(name, t)
  libraries[name] = {
    __index = t, __newindex = change, __metatable = false,
    __pairs = function(layer)
      fill(layer)
      return next, layer, nil
    end,
  }
end

-- Errors: a call that is over stays over, whatever the script catches.
local caught = native.caught
local function result(ok, ...)
  if ok then
    return true, ...
  end
  return false, caught(...)
end

local base = {
  _VERSION = raw._VERSION,
  assert = raw.assert, error = raw.error, getmetatable = raw.getmetatable, ipairs = raw.ipairs, next = native.next(fill),
  pairs = raw.pairs, rawequal = raw.rawequal, rawlen = raw.rawlen, select = select,
  tonumber = raw.tonumber, tostring = tostring, type = type,
  print = native.bounded("many", native.print),
}

function base.rawset(t, k, v)
  if protected[t] then
    error("this table is shared by all scripts and cannot be changed", 2)
  end
  fill(t)
  return rawset(t, k, v)
end

function base.rawget(t, k)
  local value = rawget(t, k)
  if value == nil and layers[t] then
    return layers[t].__index[k]
  end
  return value
end

function base.setmetatable(t, meta)
  -- Finalizers run where no limit reaches them.
  if type(meta) == "table" and rawget(meta, "__gc") ~= nil then
    error("__gc is not available in scripts; use a variable with <close>", 2)
  end
  if layers[t] then
    fill(t)
  end
  return setmetatable(t, meta)
end

function base.pcall(f, ...)
  return result(pcall(f, ...))
end

function base.xpcall(f, handler, ...)
  return result(xpcall(f, function(e)
    return handler(caught(e))
  end, ...))
end

function base.collectgarbage(what)
  if what == "count" then
    return raw.collectgarbage("count")
  end
  if what == nil or what == "collect" or what == "step" then
    return 0
  end
  error("collectgarbage(\"" .. tostring(what) .. "\") is not available in scripts, only \"count\"", 2)
end

-- coroutine
local coroutine = {}
for k, v in next, raw.coroutine do
  coroutine[k] = v
end
local resume, close = native.resume, native.close
coroutine.resume, coroutine.close, coroutine.wrap = resume, close, native.wrap

-- Where timers and checks run: a call that waits suspends the job as a whole, whatever coroutines
-- it has made, and so does the end of a turn. Both go up through every resume; what the script
-- itself yields does not.
if native.token then
  local token, suspended, unsuspend = native.token, native.suspended, native.unsuspend
  local make, status, isyieldable = coroutine.create, coroutine.status, coroutine.isyieldable
  local yield, rawequal = coroutine.yield, raw.rawequal
  local function pass(co, ok, ...)
    local first = ...
    local waits = rawequal(first, token)
    if not ok or not waits and not (first == nil and suspended() and status(co) == "suspended") then
      return ok, ...
    end
    if isyieldable() then
      return pass(co, resume(co, yield(first)))
    end
    if waits then
      return pass(co, resume(co, nil, native.cannot_wait))
    end
    unsuspend()
    return pass(co, resume(co))
  end
  function coroutine.yield(...)
    unsuspend()
    return yield(...)
  end
  function coroutine.resume(co, ...)
    return result(pass(co, resume(co, ...)))
  end
  local function unwrap(co, ok, ...)
    if ok then
      return ...
    end
    if status(co) == "dead" then
      close(co)
    end
    error((...), 0)
  end
  function coroutine.close(co)
    return result(close(co))
  end
  function coroutine.wrap(f)
    local co = make(f)
    return function(...)
      return unwrap(co, pass(co, resume(co, ...)))
    end
  end
end

-- string
local string = {}
for k, v in next, raw.string do
  string[k] = v
end
string.dump = nil
-- The plain matcher where it ends in time; where it may not, one that counts its steps, there when
-- it is first needed.
local gmatch, gsub, rep, byte = string.gmatch, string.gsub, string.rep, string.byte
local direct, check_room = native.direct, native.check_room
local parts = {}
local function part(name)
  parts[name] = parts[name] or native.part(name, raw, native)
  return parts[name]
end
string.find = native.search(string.find, function(...)
  return part("counted").find(...)
end)
string.match = native.search(string.match, function(...)
  return part("counted").match(...)
end)
function string.gmatch(s, p, ...)
  -- A ^ is a character like any other here.
  if direct(s, type(p) == "string" and byte(p) == 94 and "%" .. p or p) then
    return gmatch(s, p, ...)
  end
  return part("counted").gmatch(s, p, ...)
end
-- Each replacement costs more than a search does, a long one by its length, and what a table with a
-- metatable gives is looked for in a chain of others.
local most_replaced, usual = 1 << 18, 16
function string.gsub(s, p, repl, ...)
  local most = most_replaced
  if type(repl) == "string" and #repl > usual then
    most = most * usual // #repl
  end
  local short = type(s) ~= "string" or #s <= most
  if short and (type(repl) ~= "table" or getmetatable(repl) == nil) and direct(s, p) then
    return gsub(s, p, repl, ...)
  end
  return part("counted").gsub(s, p, repl, ...)
end

function string.rep(s, n, sep)
  local times = tointeger(tonumber(n or 0) or 0) or 0
  if times > 64 and (type(s) == "string" or type(s) == "number") then
    s = s .. ""
    local one = #s + (sep and #tostring(sep) or 0)
    if one == 0 then
      return ""
    end
    check_room(one, times)
    if times > 1 << 16 then
      -- In pieces: a copy of many short ones takes longer than one of few long ones.
      local unit, count = s .. (sep or ""), times - 1
      return rep(rep(unit, 1024), count >> 10) .. rep(unit, count & 1023) .. s
    end
  end
  return rep(s, n, sep)
end

-- Functions that take any number of arguments and make numbers or text of each have one in front
-- that counts them (bounds.rs).
local bounded = native.bounded
string.char, string.pack, string.packsize = bounded("char", string.char), bounded("pack", string.pack), bounded("pack", string.packsize)
string.unpack, string.format = bounded("unpack", string.unpack), bounded("format", string.format)

-- table: a metatable can say another length each time it is asked, and answer by functions of C,
-- which would keep C code busy for ever. A table with one is worked on in Lua (tables.lua, loaded
-- when it is first needed), where a loop can be stopped.
local table = {}
for k, v in next, raw.table do
  table[k] = v
end
-- Elements that C code may go through at once.
local at_once, most_joined = 1 << 20, 8192
for _, name in next, { "insert", "remove" } do
  local plain = table[name]
  table[name] = function(t, ...)
    if type(t) ~= "table" or getmetatable(t) == nil and #t <= at_once then
      return plain(t, ...)
    end
    return part("tables")[name](t, ...)
  end
end

local sort, concat, unpack, move = table.sort, table.concat, table.unpack, table.move
function table.sort(t, before)
  if before and (type(t) ~= "table" or getmetatable(t) == nil) then
    return sort(t, before)
  end
  return part("tables").sort(t, before)
end

-- Whether these are so few elements.
local function are_few(first, last, most)
  return math_type(first) == "integer" and math_type(last) == "integer" and last - first < most
end

function table.concat(t, sep, i, j)
  if type(t) ~= "table" or getmetatable(t) == nil and are_few(i or 1, j or #t, most_joined) then
    return concat(t, sep, i, j)
  end
  return part("tables").concat(t, sep, i, j)
end

function table.unpack(t, i, j)
  if type(t) ~= "table" or getmetatable(t) == nil then
    return unpack(t, i, j)
  end
  return part("tables").unpack(t, i, j)
end

function table.move(a, from, to, at, b)
  local first, last = tointeger(tonumber(from or 0) or 0), tointeger(tonumber(to or 0) or 0)
  if first and last and last >= first and (last - first < 0 or last - first > native.most()) then
    error("table.move: too many elements (" .. first .. " to " .. last .. ")", 2)
  end
  local plain = type(a) ~= "table" or getmetatable(a) == nil and (type(b) ~= "table" or getmetatable(b) == nil)
  if plain and are_few(first, last, at_once) then
    return move(a, from, to, at, b)
  end
  return part("tables").move(a, from, to, at, b)
end

-- os, io
local os = {}
for k, v in next, raw.os do
  os[k] = v
end
os.exit, os.setlocale = nil, nil
-- Now is when the host says.
local made_time, shown_time, now = os.time, bounded("date", os.date), native.time
function os.time(moment)
  if moment == nil then
    return now() // 1 | 0
  end
  return made_time(moment)
end
function os.date(format, time)
  return shown_time(format, time or now() // 1 | 0)
end
if not open then
  os.execute, os.remove, os.rename, os.tmpname, os.getenv = nil, nil, nil, nil, nil
elseif raw.io then
  library("io", raw.io)
end

-- Lua 5.1 names
local math = {}
for k, v in next, raw.math do
  math[k] = v
end
math.pow = function(x, y)
  return x ^ y
end
math.max, math.min = bounded("max", math.max), bounded("max", math.min)
math.mod = math.fmod
math.log10 = function(x)
  return raw.math.log(x, 10)
end
base.unpack = table.unpack
table.getn = function(t)
  return #t
end
table.maxn = function(t)
  local max = 0
  for k in next, t do
    if math_type(k) and k > max then
      max = k
    end
  end
  return max
end
string.gfind = string.gmatch

library("string", string)
library("table", table)
library("math", math)
library("os", os)
library("coroutine", coroutine)
local utf8 = {}
for k, v in next, raw.utf8 do
  utf8[k] = v
end
utf8.char = bounded("char", utf8.char)
library("utf8", utf8)
local string_meta = getmetatable("")
native.share_strings(string_meta, string)
string_meta.__metatable = false

-- Names that are made when first used.
local lazy = native.lazy
setmetatable(base, {
  __index = function(_, k)
    local value = lazy(k)
    if value ~= nil then
      base[k] = value
    end
    return value
  end,
})

-- `package` of an environment. In the sandbox the folders of modules are the configuration's
-- choice, since whatever stands in them runs: `path` can be read there, and `require` looks for no
-- other one.
local function package_of(search)
  local package = { loaded = {}, preload = {}, config = "/\n;\n?\n!\n-\n" }
  if open then
    package.path, package.cpath = search, ""
    return package
  end
  local fixed = { path = search, cpath = "" }
  return setmetatable(package, {
    __index = fixed,
    __newindex = function(t, k, value)
      if fixed[k] ~= nil then
        error("package." .. k .. " cannot be set: the line LuaBalancerPackagePath of the configuration adds folders to it", 2)
      end
      rawset(t, k, value)
    end,
    __metatable = false,
  })
end

-- A new environment: the script's own globals and layers over the shared, read-only ones.
local function environment(require, search, script, version)
  local env = {}
  env._G = env
  env.load = function(...)
    return part("load")(env, ...)
  end
  env.loadstring = env.load
  local package = package_of(search)
  local modules, preload = package.loaded, package.preload
  modules._G = env
  env.package = package
  for name, meta in next, libraries do
    local layer = setmetatable({}, meta)
    layers[layer], env[name], modules[name] = meta, layer, layer
  end
  strings[env.string] = { script = script, version = version }
  env.require = function(name)
    if type(name) ~= "string" then
      error("bad argument #1 to 'require' (string expected, got " .. type(name) .. ")", 2)
    end
    local loaded = modules[name]
    if loaded ~= nil then
      return loaded
    end
    local chunk, extra = preload[name], ":preload:"
    if not chunk then
      chunk, extra = require(env, name, open and tostring(package.path) or search)
      if extra == nil then
        -- One of the module's own.
        modules[name] = chunk
        return chunk
      end
    end
    local value = chunk(name, extra)
    if value ~= nil then
      modules[name] = value
    elseif modules[name] == nil then
      modules[name] = true
    end
    return modules[name], extra
  end
  return setmetatable(env, { __index = base, __metatable = false })
end

return environment, protect, base, protected
