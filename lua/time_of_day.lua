-- SPDX-License-Identifier: Apache-2.0
-- One pool for working hours and one for the rest of the week, such as a few machines that may also
-- be slow.
--
--   LuaHookTranslate lua/time_of_day.lua select
--
-- Expects the pools "day" and "night".

local OPENS, CLOSES = 8, 18 -- hours
local FIRST_DAY, LAST_DAY = 2, 6 -- Sunday is 1
local UTC_OFFSET = 1 -- hours to add to UTC

local day, night = lb.pool("day"), lb.pool("night")

function select(_)
  local now = os.date("!*t", lb.time() // 1 + UTC_OFFSET * 3600)
  local works = now.wday >= FIRST_DAY and now.wday <= LAST_DAY and now.hour >= OPENS and now.hour < CLOSES
  return works and day or night
end
