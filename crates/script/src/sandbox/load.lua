-- SPDX-License-Identifier: Apache-2.0
-- `load` for scripts: source alone, and not too much of it. Compiling takes longer than in
-- proportion to what it compiles, and a hook is called only where it asks for more: it gets all
-- text in pieces. `raw` is Lua's library, `native` are functions of the runtime.
local raw, native = ...

local type, select, tostring, error, load = raw.type, raw.select, raw.tostring, raw.error, raw.load
local sub, find, caught = raw.string.sub, raw.string.find, native.caught
local most_source, piece = 65536, 512

local function too_much(size)
  return size > most_source and "load: more than 64 KiB of source" or nil
end

local function in_pieces(text)
  local at = 1
  return function()
    local from = at
    at = at + piece
    return sub(text, from, at - 1)
  end
end

-- The text that a script's reader gives, in pieces as well.
local function read_by(reader)
  local size, pieces = 0, nil
  return function()
    local text = pieces and pieces()
    if text and text ~= "" then
      return text
    end
    text, pieces = reader(), nil
    if type(text) ~= "string" then
      return text
    end
    size = size + #text
    if too_much(size) then
      error(too_much(size), 0)
    end
    if #text > piece then
      pieces = in_pieces(text)
      return pieces()
    end
    return text
  end
end

local function compiled(f, e)
  if f then
    return f
  end
  return nil, caught(e)
end

return function(env, chunk, name, mode, ...)
  if type(chunk) == "string" then
    if too_much(#chunk) then
      return nil, too_much(#chunk)
    end
    name, chunk = name or chunk, in_pieces(chunk)
  elseif type(chunk) == "function" then
    chunk = read_by(chunk)
  end
  if mode ~= nil and not find(tostring(mode), "t", 1, true) then
    return nil, "byte code does not load in scripts, only Lua source (mode \"t\")"
  end
  if select("#", ...) > 0 then
    return compiled(load(chunk, name, "t", (...)))
  end
  return compiled(load(chunk, name, "t", env))
end
