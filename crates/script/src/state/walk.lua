-- SPDX-License-Identifier: Apache-2.0
-- Names of all functions within reach of a script, for tests: by tables, by what indexing gives,
-- and by metatables. `raw` is Lua's library, `debug` too, `roots` are values by name. Returns a
-- list of names.
local raw, debug, roots = ...
local type, next, pcall = raw.type, raw.next, raw.pcall

local seen, names, open = {}, {}, {}

local function visit(name, value)
  local kind = type(value)
  if kind ~= "function" and kind ~= "table" and kind ~= "userdata" or seen[value] then
    return
  end
  seen[value] = name
  if kind == "function" then
    names[#names + 1] = name
  else
    open[#open + 1] = { name, value }
  end
end

-- Keys that may be known to a function of the runtime's own, since a table that it uses has them.
local function keys_of(f, keys)
  for nth = 1, 60 do
    local name, value = debug.getupvalue(f, nth)
    if name == nil then
      return
    elseif type(value) == "table" then
      for key in next, value do
        keys[key] = true
      end
    end
  end
end

local function sorted(t)
  local keys = {}
  for key in next, t do
    if type(key) == "string" then
      keys[#keys + 1] = key
    end
  end
  raw.table.sort(keys)
  return keys
end

local function fields(name, value)
  local prefix = name == "" and "" or name .. "."
  if type(value) == "table" then
    for _, key in raw.ipairs(sorted(value)) do
      visit(prefix .. key, value[key])
    end
  end
  local meta = debug.getmetatable(value)
  if not meta then
    return
  end
  local keys = {}
  for _, event in raw.ipairs(sorted(meta)) do
    local handler = meta[event]
    if event:sub(1, 2) == "__" and event ~= "__metatable" and event ~= "__gc" then
      if type(handler) == "function" then
        visit(prefix .. event, handler)
        if event == "__index" then
          keys_of(handler, keys)
        end
      elseif type(handler) == "table" and event == "__index" then
        -- The same names as those of the object.
        fields(name, handler)
      end
    end
  end
  for _, key in raw.ipairs(sorted(keys)) do
    local ok, field = pcall(function()
      return value[key]
    end)
    if ok then
      visit(prefix .. key, field)
    end
  end
end

for _, root in next, roots do
  visit(root[1], root[2])
end
while #open > 0 do
  local name, value = raw.table.unpack(raw.table.remove(open, 1))
  fields(name, value)
end
raw.table.sort(names)
return names
