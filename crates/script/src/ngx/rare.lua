-- SPDX-License-Identifier: Apache-2.0
-- Functions of `ngx` that scripts seldom call. There when a script first names one.
local native, raw, ngx = ...
local type, pairs, ipairs, tostring, table = raw.type, raw.pairs, raw.ipairs, raw.tostring, raw.table

function ngx.decode_base64(text)
  local found = native.decode_base64(text)
  if found == "" and text ~= "" then
    return nil
  end
  return found
end

function ngx.today()
  return raw.os.date("%Y-%m-%d", ngx.time())
end

function ngx.localtime()
  return raw.os.date("%Y-%m-%d %H:%M:%S", ngx.time())
end

function ngx.utctime()
  return raw.os.date("!%Y-%m-%d %H:%M:%S", ngx.time())
end

function ngx.http_time(seconds)
  return native.http_date(seconds)
end

-- As nginx writes them for Netscape's cookies: two digits of the year up to 2037.
function ngx.cookie_time(seconds)
  local day, date, month, year, clock = native.http_date(seconds):match("^(%a+, )(%d+) (%a+) (%d+) (.*)$")
  return day .. date .. "-" .. month .. "-" .. (raw.tonumber(year) > 2037 and year or year:sub(3)) .. " " .. clock
end

function ngx.md5(text)
  return native.digest(false, true, text)
end

function ngx.md5_bin(text)
  return native.digest(false, false, text)
end

function ngx.sha1_bin(text)
  return native.digest(true, false, text)
end

function ngx.decode_args(text, max)
  return native.decode_args(text, max or 100)
end

local function encode_pair(out, key, value)
  local name = native.escape_uri(tostring(key))
  if value == true then
    out[#out + 1] = name
  elseif value ~= false and value ~= nil then
    out[#out + 1] = name .. "=" .. native.escape_uri(tostring(value))
  end
end

function ngx.encode_args(args)
  local keys, out = {}, {}
  for key in pairs(args) do
    keys[#keys + 1] = key
  end
  -- One order for the same arguments, in every thread.
  table.sort(keys, function(a, b)
    return tostring(a) < tostring(b)
  end)
  for _, key in ipairs(keys) do
    local value = args[key]
    if type(value) == "table" then
      for _, one in ipairs(value) do
        encode_pair(out, key, one)
      end
    else
      encode_pair(out, key, value)
    end
  end
  return table.concat(out, "&")
end
