-- The module `bit`: 32-bit operations with signed results, as LuaJIT has them.
local _, raw = ...
local select, tointeger, error = raw.select, raw.math.tointeger, raw.error
local bit = {}

local function unsigned(x)
  local number = tointeger(x) or (raw.tonumber(x) and tointeger(raw.math.floor(raw.tonumber(x) + 0.5)))
  if not number then
    error("bad argument: number expected, got " .. raw.type(x), 3)
  end
  return number & 0xffffffff
end

local function signed(x)
  x = x & 0xffffffff
  return x >= 0x80000000 and x - 0x100000000 or x
end

function bit.tobit(x)
  return signed(unsigned(x))
end

function bit.bnot(x)
  return signed(~unsigned(x))
end

local function fold(operation)
  return function(x, ...)
    x = unsigned(x)
    for i = 1, select("#", ...) do
      x = operation(x, unsigned((select(i, ...))))
    end
    return signed(x)
  end
end
bit.band = fold(function(a, b)
  return a & b
end)
bit.bor = fold(function(a, b)
  return a | b
end)
bit.bxor = fold(function(a, b)
  return a ~ b
end)

function bit.lshift(x, n)
  return signed(unsigned(x) << (n & 31))
end

function bit.rshift(x, n)
  return signed(unsigned(x) >> (n & 31))
end

function bit.arshift(x, n)
  return signed(signed(unsigned(x)) // (1 << (n & 31)))
end

function bit.rol(x, n)
  x, n = unsigned(x), n & 31
  return signed(x << n | x >> (32 - n))
end

function bit.ror(x, n)
  return bit.rol(x, -n & 31)
end

function bit.bswap(x)
  x = unsigned(x)
  return signed(x << 24 | (x & 0xff00) << 8 | (x >> 8) & 0xff00 | x >> 24)
end

function bit.tohex(x, n)
  n = n or 8
  local text = raw.string.format(n < 0 and "%08X" or "%08x", unsigned(x))
  return text:sub(-raw.math.min(n < 0 and -n or n, 8))
end

return bit
