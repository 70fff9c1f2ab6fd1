-- SPDX-License-Identifier: Apache-2.0
-- require "resty.dns.resolver": the system's resolver under that module's names, for checks and
-- timers.
local resolve, raw = ...
local type, setmetatable = raw.type, raw.setmetatable
local class = {
  TYPE_A = 1, TYPE_NS = 2, TYPE_CNAME = 5, TYPE_SOA = 6, TYPE_PTR = 12, TYPE_MX = 15, TYPE_TXT = 16, TYPE_AAAA = 28,
  TYPE_SRV = 33, TYPE_SPF = 99, CLASS_IN = 1, SECTION_AN = 1, SECTION_NS = 2, SECTION_AR = 3, _VERSION = "small",
}
local meta = { __index = class, __metatable = false }
-- The system does not tell how long an answer may be kept.
local TTL = 5

function class.new(_, options)
  local timeout = options and options.timeout or 2000
  if type(timeout) ~= "number" or timeout <= 0 then
    raw.error("resty.dns.resolver: timeout: expected milliseconds", 2)
  end
  return setmetatable({ timeout = timeout }, meta)
end

function class:set_timeout(milliseconds)
  self.timeout = milliseconds
end

function class:query(name, options)
  local kind = options and options.qtype or class.TYPE_A
  if kind ~= class.TYPE_A and kind ~= class.TYPE_AAAA then
    return nil, "only TYPE_A and TYPE_AAAA are available here: the system's resolver tells addresses alone"
  end
  local addresses, why = resolve(name, self.timeout / 1000)
  if not addresses then
    if why == "host not found" then
      return { errcode = 3, errstr = "name error" }
    end
    return nil, why
  end
  local answers = {}
  for _, address in raw.ipairs(addresses) do
    if (address:find(":", 1, true) ~= nil) == (kind == class.TYPE_AAAA) then
      answers[#answers + 1] =
        { name = name, address = address, type = kind, class = class.CLASS_IN, ttl = TTL, section = class.SECTION_AN }
    end
  end
  return answers
end
class.tcp_query = class.query

return class
