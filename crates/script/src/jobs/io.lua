-- lb.http, lb.tcp and socket.tcp() where timers and checks run: a call says what it waits for, and suspends its job.
local native, raw = ...

local yield, isyieldable = raw.coroutine.yield, raw.coroutine.isyieldable
local setmetatable, error = raw.setmetatable, raw.error
local token = native.token

-- Raises where nothing can wait.
local function ready(name)
  native.check_place(name)
  if not isyieldable() then
    error(name .. " " .. native.cannot_wait, 3)
  end
end

local function http(request)
  ready("lb.http")
  local why = native.want_http(request)
  if why then
    return nil, why
  end
  return yield(token)
end

local function tcp(host, port, timeout)
  ready("lb.tcp")
  native.want_tcp(host, port, timeout)
  local connection, why = yield(token)
  if not connection then
    return nil, host .. ":" .. port .. ": " .. why
  end
  native.drop(connection)
  return true
end

local sockets = setmetatable({}, { __mode = "k" })
local methods = {}

local function own(object)
  return sockets[object] or error("expected a socket, as in sock:connect(host, port)", 3)
end

function methods:settimeout(seconds)
  native.settimeout(own(self), seconds)
  return 1
end

function methods:connect(host, port)
  local socket = own(self)
  ready("connect")
  local full = native.want_connect(socket, host, port)
  if full then
    return nil, full
  end
  local connection, why = yield(token)
  if not connection then
    return nil, why
  end
  native.attach(socket, connection)
  return 1
end

function methods:send(data)
  local socket = own(self)
  ready("send")
  local ok, why = nil, native.want_send(socket, data)
  if not why then
    ok, why = yield(token)
  end
  if ok then
    return #data
  end
  return nil, why
end

function methods:receive(pattern)
  local socket = own(self)
  ready("receive")
  local done, value, why, partial = native.take(socket, pattern)
  local first = true
  while not done do
    local chunk, failed = nil, native.want_receive(socket, first)
    first = false
    if not failed then
      chunk, failed = yield(token)
    end
    done, value, why, partial = native.take(socket, pattern, chunk, failed)
  end
  if value then
    return value
  end
  return nil, why, partial
end

function methods:close()
  native.close(own(self))
  return 1
end

local meta = { __index = methods, __metatable = false, __name = "tcp socket" }

local socket = { gettime = native.time, _VERSION = "tcp only" }
function socket.tcp()
  local object = setmetatable({}, meta)
  sockets[object] = native.new()
  return object
end

local function resolve(host, timeout)
  ready("resty.dns.resolver")
  native.want_resolve(host, timeout)
  return yield(token)
end

-- Waits at least a thousandth of a second; false where nothing can.
local function sleep(seconds)
  if not native.is_job() or not isyieldable() then
    return false
  end
  native.want_sleep(seconds)
  yield(token)
  return true
end

return http, tcp, socket, resolve, sleep
