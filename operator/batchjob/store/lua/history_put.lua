-- Remember a run that has ended. KEYS: records (hash uid → record), ended (zset uid → end, ms), of (the same of its
-- owner alone), totals (hash queue:phase → how many ended so). ARGV: uid, end (ms), record, how long records are kept
-- (ms), how many at most, queue:phase, how many of these at most.
-- Written again, a record takes the place of the one before. What is too old goes, and the oldest of what is too much;
-- a few a call, which is more than a call brings. `of` is cleared here, and goes by itself once nothing of its owner
-- ended for so long.

local CLEAR_UP = 100
local uid, ended, kept, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[4]), tonumber(ARGV[5])
local t = redis.call('TIME')
local too_old = tonumber(t[1]) * 1000 - kept

local function drop(uids)
  if #uids > 0 then
    redis.call('HDEL', KEYS[1], unpack(uids))
    redis.call('ZREM', KEYS[2], unpack(uids))
  end
end

local is_new = redis.call('HSET', KEYS[1], uid, ARGV[3]) == 1
if is_new and (redis.call('HLEN', KEYS[4]) < tonumber(ARGV[7]) or redis.call('HEXISTS', KEYS[4], ARGV[6]) == 1) then
  redis.call('HINCRBY', KEYS[4], ARGV[6], 1)
end
redis.call('ZADD', KEYS[2], ended, uid)
redis.call('ZADD', KEYS[3], ended, uid)
drop(redis.call('ZRANGE', KEYS[2], '-inf', too_old, 'BYSCORE', 'LIMIT', 0, CLEAR_UP))
local surplus = redis.call('ZCARD', KEYS[2]) - most
if surplus > 0 then
  drop(redis.call('ZRANGE', KEYS[2], 0, math.min(surplus, CLEAR_UP) - 1))
end
local first = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', '(' .. string.format('%.0f', tonumber(first[2] or 0)))
for _, key in ipairs(KEYS) do
  redis.call('PEXPIRE', key, kept)
end
