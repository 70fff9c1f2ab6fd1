-- require "table.new", "table.clear", "table.nkeys": LuaJIT's functions, which modules of OpenResty fetch like that.
local _, raw = ...
local next = raw.next

return {
  new = function()
    return {}
  end,
  clear = function(table)
    for key in next, table do
      table[key] = nil
    end
  end,
  nkeys = function(table)
    local count = 0
    for _ in next, table do
      count = count + 1
    end
    return count
  end,
}
