-- SPDX-License-Identifier: Apache-2.0
-- The global `ngx`: OpenResty's names over the request of httpd.
local native, raw = ...
local type, pairs, ipairs, tostring, error, setmetatable = raw.type, raw.pairs, raw.ipairs, raw.tostring, raw.error,
  raw.setmetatable
local table, math, select = raw.table, raw.math, raw.select

local ngx = {
  null = native.null,
  exit = native.exit, redirect = native.redirect, get_phase = native.phase,
  escape_uri = native.escape_uri, unescape_uri = native.unescape_uri,
  encode_base64 = native.encode_base64, crc32_short = native.crc32, crc32_long = native.crc32,
  config = { subsystem = "http", debug = false, ngx_lua_version = 10026, nginx_version = 1025003 },
}

local function read_only(name)
  return function(_, k)
    error("ngx" .. name .. "." .. tostring(k) .. " cannot be set", 2)
  end
end

function ngx.log(level, ...)
  if type(level) ~= "number" or level < 0 or level > 8 then
    error("bad log level: " .. tostring(level), 2)
  end
  native.log(level > 0 and level - 1 or 0, ...)
end

function ngx.now()
  return math.floor(native.time() * 1000) / 1000
end

function ngx.time()
  return math.floor(native.time())
end

function ngx.update_time() end

-- Functions that scripts seldom call.
local function rare(name)
  local load = native.rare
  if load then
    native.rare = nil
    load(native, raw, ngx)
  end
  return ngx[name]
end

-- ngx.var
ngx.var = setmetatable(native.mark {}, {
  __index = function(_, name)
    if type(name) ~= "string" then
      return nil
    end
    return native.var(name)
  end,
  __newindex = function(_, name, value)
    native.set_var(tostring(name), value)
  end,
  __metatable = false,
})

-- ngx.req
local req = {}

local header_meta = {
  __index = function(t, name)
    if type(name) ~= "string" then
      return nil
    end
    return raw.rawget(t, (name:lower():gsub("_", "-")))
  end,
  __metatable = false,
}

local function as_table(flat, max, lower)
  local headers, count = {}, 0
  for i = 1, #flat, 2 do
    count = count + 1
    if max > 0 and count > max then
      return headers, "truncated"
    end
    local name, value = flat[i], flat[i + 1]
    if lower then
      name = name:lower()
    end
    local known = headers[name]
    if known == nil then
      headers[name] = value
    elseif type(known) == "table" then
      known[#known + 1] = value
    else
      headers[name] = { known, value }
    end
  end
  return headers
end

function req.get_headers(max, keep_case)
  local headers, truncated = as_table(native.headers(), max or 100, not keep_case)
  if not keep_case then
    setmetatable(headers, header_meta)
  end
  return headers, truncated
end

local function set(which, name, value)
  if type(value) ~= "table" then
    return native["set_" .. which](name, value)
  end
  native["set_" .. which](name, value[1])
  for i = 2, #value do
    native["add_" .. which](name, tostring(value[i]))
  end
end

function req.set_header(name, value)
  set("headers", name, value)
end

function req.clear_header(name)
  native.set_headers(name, nil)
end

function req.get_method()
  return native.var("request_method")
end

function req.get_uri_args(max)
  return native.uri_args(max or 100)
end

function req.set_uri(uri, jump)
  if type(uri) ~= "string" or uri == "" then
    error("ngx.req.set_uri: expected a URI that is not empty", 2)
  end
  if jump then
    error("ngx.req.set_uri: there are no locations to jump to here", 2)
  end
  -- A URI has no query in it, and is not encoded; nginx scripts pass $request_uri, which is
  -- both, all the same.
  local own = native.var("uri") or ""
  local before = #uri - #own
  if own ~= "" and uri:sub(before + 1) == own and not uri:sub(1, before):find("?", 1, true) then
    native.set_uri(uri)
    return
  end
  local path, args = uri:match("^([^?]*)%??(.*)$")
  if uri == native.var("request_uri") then
    path = native.unescape_uri((path:gsub("%+", "%%2B")))
  end
  native.set_uri(path)
  if args ~= "" then
    native.set_args(args)
  end
end

function req.set_uri_args(args)
  if type(args) == "table" then
    args = rare("encode_args")(args)
  end
  native.set_args(tostring(args))
end

function req.start_time()
  return native.started()
end

function req.http_version()
  return raw.tonumber((native.var("server_protocol") or ""):match("^HTTP/(%d+%.?%d*)"))
end

function req.is_internal()
  return false
end
ngx.req = setmetatable(native.mark {}, { __index = req, __newindex = read_only(".req"), __metatable = false })

-- ngx.header
ngx.header = setmetatable(native.mark {}, {
  __index = function(_, name)
    return native.get_response_headers((tostring(name):gsub("_", "-")))
  end,
  __newindex = function(_, name, value)
    set("response_headers", (tostring(name):gsub("_", "-")), value)
  end,
  __metatable = false,
})
ngx.resp = {
  get_headers = function(max)
    return as_table(native.response_headers(), max or 100, true)
  end,
}

-- ngx.timer
local function timer(repeats)
  return function(seconds, callback, ...)
    if type(callback) ~= "function" then
      error("bad argument #2 (function expected, got " .. type(callback) .. ")", 2)
    end
    return native.timer(seconds, repeats, callback, false, ...)
  end
end
ngx.timer = {
  at = timer(false),
  every = timer(true),
}

-- ngx.worker
ngx.worker = {
  id = function()
    return (native.worker())
  end,
  pid = function()
    return (select(2, native.worker()))
  end,
  count = function()
    return (select(3, native.worker()))
  end,
  exiting = function()
    return false
  end,
}

-- ngx.shared
local dict = {}
dict.__index = dict
local function stored(name)
  return function(self, key, value, seconds)
    local ok, rest = self.store[name](self.store, key, value, seconds)
    if ok then
      return true, nil, rest
    end
    return false, rest, false
  end
end
for _, name in ipairs { "set", "add", "replace", "safe_set", "safe_add" } do
  dict[name] = stored(name)
end
function dict:get(key)
  return self.store:get(key)
end
function dict:get_stale(key)
  return self.store:get_stale(key)
end
function dict:incr(key, n, init, init_ttl)
  local value, rest = self.store:incr(key, n, init, init_ttl)
  if value == nil then
    return nil, rest
  end
  if init == nil then
    return value
  end
  return value, nil, rest
end
function dict:delete(key)
  self.store:delete(key)
end
function dict:get_keys(max)
  return self.store:keys(max or 1024)
end
function dict:ttl(key)
  return self.store:ttl(key)
end
function dict:expire(key, seconds)
  return self.store:expire(key, seconds)
end
function dict:flush_all()
  self.store:clear()
end
function dict:flush_expired(max)
  return self.store:purge(max)
end
function dict:capacity()
  return (self.store:room())
end
function dict:free_space()
  return (select(2, self.store:room()))
end
local dicts = {}
ngx.shared = setmetatable(native.mark {}, {
  __index = function(_, name)
    if dicts[name] == nil then
      local store = native.dict(name)
      if store == nil then
        return nil
      end
      local meta = { __index = dict, __newindex = read_only(".shared"), __metatable = false }
      dicts[name] = setmetatable(native.mark { store = store }, meta)
    end
    return dicts[name]
  end,
  __newindex = read_only(".shared"),
  __metatable = false,
})

-- ngx.ctx and ngx.status belong to the request.
local ctx, ctx_of
local live = {}
function live.ctx(new)
  local serial = native.serial()
  if new ~= nil then
    ctx, ctx_of = new, serial
  elseif ctx_of ~= serial then
    ctx, ctx_of = {}, serial
  end
  return ctx
end
live.status = native.status

-- A page of the script's own, sent when it has ended.
local function said(name, behind)
  local function write(value)
    if type(value) == "table" then
      for _, one in ipairs(value) do
        write(one)
      end
    else
      native.write(name, value == native.null and "null" or tostring(value))
    end
  end
  return function(...)
    for at = 1, select("#", ...) do
      write((select(at, ...)))
    end
    native.write(name, behind)
    return 1
  end
end
ngx.print, ngx.say = said("ngx.print", ""), said("ngx.say", "\n")
function ngx.flush()
  return 1
end
function ngx.eof()
  return 1
end
ngx.send_headers = ngx.eof

local searches
ngx.re = setmetatable({}, {
  __index = function(_, name)
    searches = searches or native.re(native, raw)
    return searches[name]
  end,
})
for _, name in ipairs { "timer", "worker", "re", "resp", "config" } do
  ngx[name] = setmetatable(native.mark {}, { __index = ngx[name], __newindex = read_only("." .. name), __metatable = false })
end

return setmetatable(native.mark {}, {
  __index = function(_, name)
    local value = ngx[name]
    if value ~= nil then
      return value
    elseif live[name] then
      return live[name]()
    end
    value = native.number(name)
    if value then
      ngx[name] = value
      return value
    end
    return rare(name) or native.instead(name)
  end,
  __newindex = function(_, name, value)
    if live[name] then
      live[name](value)
    else
      error("ngx." .. tostring(name) .. " cannot be set", 2)
    end
  end,
  __metatable = false,
})
