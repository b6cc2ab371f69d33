-- Nobody takes of this rate for so long: the other side said so. ARGV: microseconds. The longest hold is in force.

local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000000 + tonumber(t[2])
local f = redis.call('HMGET', KEYS[1], 'next', 'held')
local held = math.max(tonumber(f[2] or 0), now + tonumber(ARGV[1]))
-- For a server whose memory is full, too: see `write_though_full` of prelude.lua.
redis.call('HDEL', KEYS[1], '')
redis.call('HSET', KEYS[1], 'held', string.format('%.0f', held))
redis.call('PEXPIRE', KEYS[1], math.ceil((math.max(held, tonumber(f[1] or 0)) - now) / 1000) + 1000)
