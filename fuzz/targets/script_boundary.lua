-- SPDX-License-Identifier: Apache-2.0
-- Reads the request's URI as a program: each step calls one function of the API with values made,
-- or kept, before. The host's fuzzer writes the programs. Errors of a call are caught, as scripts
-- do; the last values are the answer.
local code

local at = 0
local function byte()
  at = at + 1
  return code:byte(at) or 0
end

local app = lb.pool("app")
local kept, functions, names = {}, {}, {}

local function collect(prefix, t)
  for name, value in pairs(t) do
    if type(value) == "function" then
      names[#names + 1] = prefix .. tostring(name)
    end
  end
end

local modules = { lb = lb, string = string, table = table, math = math, utf8 = utf8, coroutine = coroutine, os = os }
for _, name in ipairs({ "ngx", "bit", "cjson", "cjson.safe", "resty.chash", "resty.roundrobin", "resty.swrr", "ngx.balancer", "socket" }) do
  local ok, module = pcall(require, name)
  modules[name] = ok and module or nil
end
modules.ngx_req, modules.ngx_re, modules.ngx_timer = ngx.req, ngx.re, ngx.timer
for name, module in pairs(modules) do
  collect(name .. ".", module)
end
for _, name in ipairs({ "pcall", "xpcall", "select", "tostring", "tonumber", "setmetatable", "getmetatable", "rawset", "rawget", "rawlen",
  "next", "load", "error", "assert", "unpack", "print", "collectgarbage", "pairs", "ipairs", "type", "require" }) do
  names[#names + 1] = name
end
table.sort(names)
for at_name, name in ipairs(names) do
  local module, field = name:match("^(.*)%.([^.]+)$")
  functions[at_name] = module and modules[module] and modules[module][field] or _G[name] or _ENV[name]
end

local methods = { "pick", "round_robin", "random", "least_connections", "power_of_two", "least_latency", "consistent_hash", "maglev", "rendezvous",
  "hash", "first", "sticky", "member", "members", "where", "except", "only", "add", "remove", "set_weight", "drain", "disable", "enable",
  "getcookie", "setcookie", "parseargs", "parsebody", "regex", "expr", "escape", "unescape", "escape_html", "md5", "sha1", "base64_encode",
  "base64_decode", "ssl_var_lookup", "construct_url", "ivm_get", "ivm_set", "warn", "trace8", "get", "set", "add", "replace", "incr", "delete",
  "ttl", "keys", "settimeout", "connect", "send", "receive", "close", "find", "up", "down", "clock" }
local fields = { "uri", "args", "method", "status", "proxyreq", "filename", "handler", "user", "content_type", "headers_in", "headers_out",
  "err_headers_out", "notes", "subprocess_env", "port", "is_https", "name", "weight", "state", "usable", "inflight", "meta", "latency", "host", "x", 1, 0.5 }

local function text()
  local length = byte()
  if length > 250 then
    return string.rep("a", length * 64)
  end
  local from = at + 1
  at = at + length
  return code:sub(from, at)
end

local function value(r, depth)
  local kind = byte() % 24
  if kind == 0 then return nil end
  if kind == 1 then return true end
  if kind == 2 then return false end
  if kind == 3 then return byte() end
  if kind == 4 then return -byte() end
  if kind == 5 then return math.maxinteger end
  if kind == 6 then return math.mininteger end
  if kind == 7 then return 0 / 0 end
  if kind == 8 then return 1 / 0 end
  if kind == 9 then return byte() / 7 end
  if kind == 10 then return app end
  if kind == 11 then return (app:first()) end
  if kind == 12 then return r end
  if kind == 13 then return r.headers_in end
  if kind == 14 then return function(...) return ... end end
  if kind == 15 then return coroutine.create(function(...) return coroutine.yield(...) end) end
  if kind == 16 then return app:where({ zone = "x" }) end
  if kind == 17 then return 1e15 end
  if kind == 18 and depth < 4 then
    local t = {}
    for _ = 1, byte() % 5 do
      local key = value(r, depth + 1)
      if key ~= nil and key == key then
        t[key] = value(r, depth + 1)
      end
    end
    return t
  end
  if kind == 19 then
    local t = {}
    t.self, t[1] = t, t
    return setmetatable(t, { __index = t, __tostring = function() return nil end, __len = function() return -1 end, __call = function() return t end })
  end
  if kind == 20 then return kept[byte() % 16] end
  if kind == 21 then return fields[byte() % #fields + 1] end
  return text()
end

local function arguments(r)
  local count = byte() % 5
  local all = {}
  for i = 1, count do
    all[i] = value(r, 0)
  end
  return count, all
end

local function keep(ok, ...)
  for i = 1, math.min(select("#", ...), 4) do
    kept[(byte() + i) % 16] = (select(i, ...))
  end
  return ok
end

function select_by(r)
  code, at = r.uri or "", 0
  for _ = 1, 24 do
    if at >= #code then
      break
    end
    local what = byte() % 8
    if what <= 2 then
      local f = functions[(byte() * 256 + byte()) % #names + 1]
      local count, all = arguments(r)
      if f then
        keep(pcall(f, table.unpack(all, 1, count)))
      end
    elseif what <= 5 then
      local object, name = value(r, 0), methods[byte() % #methods + 1]
      local count, all = arguments(r)
      keep(pcall(function()
        return object[name](object, table.unpack(all, 1, count))
      end))
    elseif what == 6 then
      local object, key, new = value(r, 0), value(r, 0), value(r, 0)
      keep(pcall(function()
        object[key] = new
        return object[key]
      end))
    else
      local object, key = value(r, 0), value(r, 0)
      keep(pcall(function()
        return object[key], #object, tostring(object)
      end))
    end
  end
  return value(r, 0), value(r, 0)
end
