-- SPDX-License-Identifier: Apache-2.0
-- require "resty.lock": locks in a dictionary. A timer or check waits for one that somebody else
-- holds; a request, whose thread must not sleep, gets "timeout" at once.
local _, raw, ngx, sleep = ...
local setmetatable, type, error, math = raw.setmetatable, raw.type, raw.error, raw.math
local class = { _VERSION = "0.09" }
local meta = { __index = class, __metatable = false }

-- Seconds, but for ratio, as the original has them.
local defaults = { exptime = 30, timeout = 5, step = 0.001, ratio = 2, max_step = 0.5 }
local shortest = 0.001

function class.new(_, name, options)
  local dict = type(name) == "string" and ngx.shared[name] or type(name) == "table" and name or nil
  if not dict then
    return nil, "dictionary not found"
  end
  local self = { dict = dict, key = nil }
  for key, default in raw.pairs(defaults) do
    local value = options and options[key]
    if value == nil then
      value = default
    elseif type(value) ~= "number" or value ~= value or value < 0 then
      error("resty.lock: " .. key .. ": expected a number of seconds", 2)
    end
    self[key] = value
  end
  return setmetatable(self, meta)
end

-- Tries again and again; true, or nil and why not, and how long that took.
local function wait(self, key)
  local elapsed, step = 0, self.step
  while elapsed < self.timeout do
    step = math.max(shortest, math.min(step, self.max_step, self.timeout - elapsed))
    if not (sleep and sleep(step)) then
      return nil, "timeout"
    end
    elapsed = elapsed + step
    local ok, why = self.dict:add(key, true, self.exptime)
    if ok then
      return true, elapsed
    elseif why ~= "exists" then
      return nil, why
    end
    step = step * self.ratio
  end
  return nil, "timeout"
end

function class:lock(key)
  if not key then
    return nil, "no key"
  elseif self.key then
    return nil, "locked"
  end
  local elapsed = 0
  local ok, why = self.dict:add(key, true, self.exptime)
  if not ok then
    if why ~= "exists" then
      return nil, why
    end
    ok, elapsed = wait(self, key)
    if not ok then
      return nil, elapsed
    end
  end
  self.key = key
  return elapsed
end

function class:unlock()
  if not self.key then
    return nil, "unlocked"
  end
  self.dict:delete(self.key)
  self.key = nil
  return 1
end

function class:expire(seconds)
  if not self.key then
    return nil, "unlocked"
  end
  local ok, why = self.dict:replace(self.key, true, seconds or self.exptime)
  if not ok then
    return nil, why
  end
  return true
end

return class
