-- SPDX-License-Identifier: Apache-2.0
-- The begin of each job. The text of an error is made where it was raised: below this function its
-- `__tostring` would run in another coroutine, which nobody stops.
local explained, raw = ...
local xpcall, error = raw.xpcall, raw.error

local function ended(good, ...)
  if good then
    return ...
  end
  error(..., 0)
end

return function(f, ...)
  return ended(xpcall(f, explained, ...))
end
