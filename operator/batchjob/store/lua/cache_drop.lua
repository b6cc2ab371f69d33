-- Letting values of a cache go. KEYS: entries (hash key → value), due (zset key → end, ms), size (hash: bytes). Whoever
-- drops writes `bytes` back.

local BESIDES = 160 -- bytes of an entry in hash and zset besides key and value: small ones would take 20 times the limit
local bytes = tonumber(redis.call('HGET', KEYS[3], 'bytes') or 0)

local function drop(gone)
  local old = redis.call('HGET', KEYS[1], gone)
  if old then
    bytes = bytes - #gone - #old - BESIDES
    redis.call('HDEL', KEYS[1], gone)
  end
  redis.call('ZREM', KEYS[2], gone)
end

-- Those go whose time is over soonest, `most` of them; false where there is none left to go.
local function make_room(limit, most)
  while bytes > limit and most > 0 do
    local soonest = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
    if not soonest then
      return false
    end
    drop(soonest)
    most = most - 1
  end
  return true
end
