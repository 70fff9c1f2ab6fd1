-- require "resty.lock": locks in a dictionary. Nobody sleeps here: one that somebody else holds is a "timeout" at once.
local _, raw, ngx = ...
local setmetatable, type, error = raw.setmetatable, raw.type, raw.error
local class = { _VERSION = "0.09" }
local meta = { __index = class, __metatable = false }

function class.new(_, name, options)
  local dict = type(name) == "string" and ngx.shared[name] or type(name) == "table" and name or nil
  if not dict then
    return nil, "dictionary not found"
  end
  local exptime = options and options.exptime or 30
  if type(exptime) ~= "number" then
    error("resty.lock: exptime: expected a number of seconds", 2)
  end
  return setmetatable({ dict = dict, exptime = exptime, key = nil }, meta)
end

function class:lock(key)
  if not key then
    return nil, "no key"
  elseif self.key then
    return nil, "locked"
  end
  local ok, why = self.dict:add(key, true, self.exptime)
  if ok then
    self.key = key
    return 0
  end
  return nil, why == "exists" and "timeout" or why
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
