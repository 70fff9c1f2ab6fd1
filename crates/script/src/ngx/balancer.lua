-- SPDX-License-Identifier: Apache-2.0
-- require "ngx.balancer": the peer of the next attempt.
local native, raw = ...
local type, error, tonumber, tostring = raw.type, raw.error, raw.tonumber, raw.tostring
local balancer = {}

function balancer.set_current_peer(address, port, host)
  if not native.can_balance() then
    return nil, "API disabled in the current context"
  end
  if type(address) ~= "string" then
    error("bad argument #1 to 'set_current_peer' (string expected, got " .. type(address) .. ")", 2)
  end
  if host ~= nil and type(host) ~= "string" then
    error("bad argument #3 to 'set_current_peer' (string expected, got " .. type(host) .. ")", 2)
  end
  local number = port == nil and 0 or tonumber(port)
  if not number or number < 0 or number > 65535 then
    return nil, "bad port: " .. tostring(port)
  end
  if address:sub(1, 5) == "unix:" then
    native.set_peer(address, 0, host)
    return true
  end
  local inner, behind = address:match("^%[(.-)%]:?(%d*)$")
  if not inner and not native.is_address(address) then
    inner, behind = address:match("^([%d.]+):(%d+)$")
  end
  inner = inner or address
  if not native.is_address(inner) then
    return nil, "no host allowed"
  end
  if behind and behind ~= "" then
    number = tonumber(behind)
    if number > 65535 then
      return nil, "bad port: " .. behind
    end
  end
  native.set_peer(inner, raw.math.tointeger(number), host)
  return true
end

function balancer.set_more_tries(count)
  if type(count) ~= "number" or not (count >= 0) then
    error("bad number of tries: " .. tostring(count), 2)
  end
  if not native.can_balance() then
    return nil, "API disabled in the current context"
  end
  if native.set_tries(count) then
    return true, "reduced tries due to limit"
  end
  return true
end

function balancer.get_last_failure()
  local state, status = native.last_failure()
  if state == nil then
    return nil
  end
  return state, status
end

function balancer.set_timeouts(connect, send, read)
  for name, value in raw.pairs { connect = connect or 1, send = send or 1, read = read or 1 } do
    if type(value) ~= "number" or value <= 0 then
      error("bad " .. name .. " timeout", 2)
    end
  end
  if not native.can_balance() then
    return nil, "API disabled in the current context"
  end
  native.set_timeouts(connect, send, read)
  return true
end

function balancer.set_upstream_tls(on)
  native.set_tls(on ~= nil and on ~= false and on ~= 0)
  return true
end

function balancer.enable_keepalive()
  return true
end

function balancer.recreate_request()
  return true
end

return balancer
