-- SPDX-License-Identifier: Apache-2.0
-- ngx.re: httpd's regular expressions are PCRE as well. There when a script first uses it.
local native, raw = ...
local type, pairs, tostring, table = raw.type, raw.pairs, raw.tostring, raw.table
local re = {}
local function flags(options)
  return ((options or ""):gsub("[^imsx]", ""))
end

local every = raw.math.maxinteger
local function search(subject, pattern, options, from, most)
  return native.regex(tostring(subject), pattern, flags(options), from, most)
end

-- Where to begin, and what to note there for the next call.
local function place(ctx)
  return ctx and ctx.pos or 1
end

function re.match(subject, pattern, options, ctx, into)
  local found, places = search(subject, pattern, options, place(ctx), 1)
  if not found then
    return nil, places
  end
  local groups = found[1]
  if not groups then
    return nil
  end
  if ctx then
    ctx.pos = places[1][2] + 1
  end
  if type(into) ~= "table" then
    return groups
  end
  for at, text in pairs(groups) do
    into[at] = text
  end
  return into
end

function re.find(subject, pattern, options, ctx, group)
  local found, places = search(subject, pattern, options, place(ctx), 1)
  if not found then
    return nil, nil, places
  end
  local ends = places[1]
  if not ends then
    return nil
  end
  if ctx then
    ctx.pos = ends[2] + 1
  end
  local at = 2 * (group or 0) + 1
  local start, stop = ends[at], ends[at + 1]
  if start == nil then
    return nil, nil, "nth out of bound"
  end
  if start == 0 then
    return nil
  end
  return start, stop
end

function re.gmatch(subject, pattern, options)
  local found, why = search(subject, pattern, options, 1, every)
  if not found then
    return nil, why
  end
  local at = 0
  return function()
    at = at + 1
    return found[at]
  end
end

-- The replacement of a match: a function's answer, or a text with $1, ${1}, $& and $$.
local function replacement(by, groups)
  if type(by) == "function" then
    return tostring(by(groups))
  end
  return (tostring(by):gsub("%$([%d{&$])(%d*)(}?)", function(first, digits, close)
    if first == "$" then
      return "$" .. digits .. close
    elseif first == "&" then
      return groups[0] .. digits .. close
    elseif first == "{" then
      local text = groups[raw.tonumber(digits)]
      return text or ""
    end
    local text = groups[raw.tonumber(first .. digits)]
    return (text or "") .. close
  end))
end

local function replaced(most)
  return function(subject, pattern, by, options)
    local found, places = search(subject, pattern, options, 1, most)
    if not found then
      return nil, nil, places
    end
    subject = tostring(subject)
    local out, at = {}, 1
    for n = 1, #found do
      local start, stop = places[n][1], places[n][2]
      out[#out + 1] = subject:sub(at, start - 1)
      out[#out + 1] = replacement(by, found[n])
      at = stop + 1
    end
    out[#out + 1] = subject:sub(at)
    return table.concat(out), #found
  end
end
re.sub = replaced(1)
re.gsub = replaced(every)
return re
