-- SPDX-License-Identifier: Apache-2.0
-- require "socket.http": LuaSocket's requests over lb.http. The table is the script's own, so that
-- it may set TIMEOUT.
local http, raw = ...
local type, tostring, pairs = raw.type, raw.tostring, raw.pairs
local module = { TIMEOUT = 60, USERAGENT = "LuaSocket", _VERSION = "small" }

-- A whole body out of a source, or nil and why.
local function drained(source)
  if not source then
    return nil
  end
  local parts = {}
  while true do
    local chunk, why = source()
    if not chunk then
      return not why and raw.table.concat(parts) or nil, why
    end
    parts[#parts + 1] = chunk
  end
end

local function asked(spec, body)
  local headers = { ["User-Agent"] = module.USERAGENT }
  for name, value in pairs(spec.headers or {}) do
    -- lb.http counts the body itself.
    if tostring(name):lower() ~= "content-length" then
      headers[name] = value
    end
  end
  local timeout = raw.tonumber(module.TIMEOUT) or 60
  timeout = timeout > 0 and timeout or 60
  return { url = spec.url, method = spec.method, headers = headers, body = body, timeout = timeout }
end

local function line_of(answer)
  return "HTTP/1.1 " .. answer.status
end

-- request(url[, body]) gives body, status, headers, line; request{url =, sink =, …} gives 1 instead
-- of the body.
function module.request(spec, body)
  local simple = type(spec) == "string"
  if simple then
    spec = { url = spec, method = body and "POST" or nil }
    if body then
      spec.headers = { ["Content-Type"] = "application/x-www-form-urlencoded" }
    end
  end
  local why
  if not simple then
    body, why = drained(spec.source)
    if why then
      return nil, why
    end
  end
  local answer
  answer, why = http(asked(spec, body))
  if not answer then
    return nil, why
  end
  if simple then
    return answer.body, answer.status, answer.headers, line_of(answer)
  end
  if spec.sink then
    local ok, failed = spec.sink(answer.body)
    if not ok then
      return nil, failed
    end
    spec.sink(nil)
  end
  return 1, answer.status, answer.headers, line_of(answer)
end

return module
