-- SPDX-License-Identifier: Apache-2.0
-- require "socket" where timers and checks run. `ready` raises where nothing can wait.
local native, raw, ready = ...

local token = native.token
local yield, setmetatable, error = raw.coroutine.yield, raw.setmetatable, raw.error

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

return socket
