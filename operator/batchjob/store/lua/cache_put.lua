-- Keep a value for a while. ARGV: key, value, how long (ms), the most bytes of all together, with what each takes
-- besides. To make room those go whose time is over, then those whose time is over soonest. All of it goes by itself
-- with the last of its values.

local CLEAR_UP = 100 -- values a call: nobody waits for more
local key, value, limit = ARGV[1], ARGV[2], tonumber(ARGV[4])
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)

drop(key)
for _, gone in ipairs(redis.call('ZRANGE', KEYS[2], '-inf', now, 'BYSCORE', 'LIMIT', 0, CLEAR_UP)) do
  drop(gone)
end
bytes = bytes + #key + #value + BESIDES
make_room(limit, math.huge)
redis.call('HSET', KEYS[1], key, value)
redis.call('ZADD', KEYS[2], now + tonumber(ARGV[3]), key)
redis.call('HSET', KEYS[3], 'bytes', bytes)
local last = tonumber(redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')[2])
for _, name in ipairs(KEYS) do
  redis.call('PEXPIRE', name, math.max(last - now, 1))
end
