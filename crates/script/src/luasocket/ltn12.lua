-- SPDX-License-Identifier: Apache-2.0
-- require "ltn12": the sources and sinks that scripts give to socket.http.
local _, raw = ...
local ltn12 = { source = {}, sink = {}, pump = {}, BLOCKSIZE = 2048, _VERSION = "small" }

function ltn12.source.empty()
  return function()
    return nil
  end
end

function ltn12.source.string(text)
  return function()
    local piece = text
    text = nil
    return piece
  end
end

function ltn12.sink.null()
  return function()
    return 1
  end
end

function ltn12.sink.table(t)
  t = t or {}
  return function(chunk)
    if chunk then
      t[#t + 1] = chunk
    end
    return 1
  end, t
end

function ltn12.pump.all(source, sink)
  while true do
    local chunk, why = source()
    local ok, failed = sink(chunk, why)
    if not chunk or not ok then
      return (not why and ok) or nil, why or failed
    end
  end
end

for name, part in raw.next, { source = ltn12.source, sink = ltn12.sink } do
  ltn12[name] = raw.setmetatable({}, {
    __index = function(_, key)
      local found = part[key]
      if found == nil and raw.type(key) == "string" then
        raw.error("ltn12." .. name .. "." .. key .. " is not available here: use source.string or sink.table", 2)
      end
      return found
    end,
    __newindex = function()
      raw.error("ltn12 is shared by all scripts and cannot be changed", 2)
    end,
    __metatable = false,
  })
end
return ltn12
