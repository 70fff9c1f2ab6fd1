-- ngx.re.gmatch, sub and gsub, over ngx.re.find.
local native, raw, find, flags = ...
local type, tostring, table, math = raw.type, raw.tostring, raw.table, raw.math

-- Where the next match at or behind `from` begins and ends, and its groups.
local function next_match(subject, pattern, options, from)
  local start, stop, err = find(subject, pattern, options, { pos = from })
  if not start then
    return nil, err
  end
  -- The groups are those of a match of the same text, at the same place.
  local letters = flags(options)
  local close = letters:find("x", 1, true) and "\n)" or ")"
  local groups = native.regex(subject:sub(start), "\\A(?:" .. pattern .. close, letters)
  return start, stop, groups or { [0] = subject:sub(start, stop) }
end

local function gmatch(subject, pattern, options)
  local from = 1
  return function()
    if not from or from > #subject + 1 then
      return nil
    end
    local start, stop, groups = next_match(subject, pattern, options, from)
    if not start then
      from = nil
      return nil, stop
    end
    from = stop >= start and stop + 1 or start + 1
    return groups
  end
end

local function expanded(template, groups)
  local function group(digits)
    return groups[raw.tonumber(digits)] or ""
  end
  local out = template:gsub("%$%$", "\0"):gsub("%${(%d+)}", group):gsub("%$(%d+)", group)
  return (out:gsub("%z", "$"))
end

local function substitute(subject, pattern, replace, options, most)
  local out, from, count = {}, 1, 0
  while count < most and from <= #subject + 1 do
    local start, stop, groups = next_match(subject, pattern, options, from)
    if not start then
      if stop then
        return nil, nil, stop
      end
      break
    end
    count = count + 1
    out[#out + 1] = subject:sub(from, start - 1)
    out[#out + 1] = type(replace) == "function" and tostring(replace(groups)) or expanded(replace, groups)
    if stop < start then
      -- Nothing was matched: one byte goes on as it is.
      out[#out + 1] = subject:sub(start, start)
      from = start + 1
    else
      from = stop + 1
    end
  end
  out[#out + 1] = subject:sub(from)
  return table.concat(out), count
end

local function sub(subject, pattern, replace, options)
  return substitute(subject, pattern, replace, options, 1)
end

local function gsub(subject, pattern, replace, options)
  return substitute(subject, pattern, replace, options, math.huge)
end

return gmatch, sub, gsub
