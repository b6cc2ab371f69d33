-- Keep a value for a while. KEYS: entries (hash key → value), due (zset key → end, ms), size (hash: bytes). ARGV: key,
-- value, how long (ms), the most bytes of all together, with what each takes besides. To make room those go whose time is over, then
-- those whose time is over soonest. All of it goes by itself with the last of its values.

local BESIDES = 160 -- bytes of an entry in hash and zset besides key and value: small ones would take 20 times the limit
local CLEAR_UP = 100 -- values a call: nobody waits for more
local key, value, limit = ARGV[1], ARGV[2], tonumber(ARGV[4])
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local bytes = tonumber(redis.call('HGET', KEYS[3], 'bytes') or 0)

local function drop(gone)
  local old = redis.call('HGET', KEYS[1], gone)
  if old then
    bytes = bytes - #gone - #old - BESIDES
    redis.call('HDEL', KEYS[1], gone)
  end
  redis.call('ZREM', KEYS[2], gone)
end

drop(key)
for _, gone in ipairs(redis.call('ZRANGE', KEYS[2], '-inf', now, 'BYSCORE', 'LIMIT', 0, CLEAR_UP)) do
  drop(gone)
end
bytes = bytes + #key + #value + BESIDES
while bytes > limit do
  local soonest = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
  if not soonest then
    break
  end
  drop(soonest)
end
redis.call('HSET', KEYS[1], key, value)
redis.call('ZADD', KEYS[2], now + tonumber(ARGV[3]), key)
redis.call('HSET', KEYS[3], 'bytes', bytes)
local last = tonumber(redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')[2])
for _, name in ipairs(KEYS) do
  redis.call('PEXPIRE', name, math.max(last - now, 1))
end
