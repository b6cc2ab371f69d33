-- Take a share of a rate (GCRA: a token bucket that remembers one time). ARGV: interval (microseconds a unit), burst
-- (units), weight (units), horizon (microseconds). Returns whether it is taken, and the microseconds to wait: until
-- it may be used where it is taken, else until it is worth asking again. Nothing is taken whose turn is further away
-- than the horizon; what is heavier than the burst has its turn as others have, and waits for its own weight on top.
-- The key goes by itself once it says nothing any more.

local f = redis.call('HMGET', KEYS[1], 'next', 'held')
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local weight, horizon = tonumber(ARGV[3]), tonumber(ARGV[4])
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000000 + tonumber(t[2])
local held = tonumber(f[2] or 0)
local next_at = math.max(tonumber(f[1] or 0), held, now) + weight * interval
local at = math.max(next_at - burst * interval, held, now)
local turn = math.max(next_at - math.max(weight, burst) * interval, held, now)
if turn - now > horizon then
  return {0, turn - now}
end
-- For a server whose memory is full, too: see `write_though_full` of prelude.lua.
redis.call('HDEL', KEYS[1], '')
redis.call('HSET', KEYS[1], 'next', string.format('%.0f', next_at))
redis.call('PEXPIRE', KEYS[1], math.ceil((math.max(next_at, held) - now) / 1000) + 1000)
return {1, at - now}
