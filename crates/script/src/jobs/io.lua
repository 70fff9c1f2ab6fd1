-- SPDX-License-Identifier: Apache-2.0
-- lb.http and lb.tcp where timers and checks run: a call says what it waits for, and suspends its
-- job.
local native, raw = ...

local yield, isyieldable = raw.coroutine.yield, raw.coroutine.isyieldable
local error = raw.error
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

return http, tcp, resolve, ready, sleep
