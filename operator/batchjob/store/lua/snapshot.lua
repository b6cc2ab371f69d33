-- Read a run at one moment; nil: unknown. No ARGV, writes nothing. Returns meta, counters, usage (each flat), the
-- first 1000 failed positions, the last errors, and the milliseconds until the next delayed item (-1: none).

if redis.call('EXISTS', KEY.meta) == 0 then
  return nil
end
read_run()
local due = redis.call('ZRANGE', KEY.retry, 0, 0, 'WITHSCORES')
return {
  redis.call('HGETALL', KEY.meta),
  redis.call('HGETALL', KEY.counters),
  redis.call('HGETALL', KEY.usage),
  redis.call('ZRANGE', KEY.failed, 0, 999),
  redis.call('LRANGE', KEY.errors, 0, 9),
  due[2] and math.max(0, tonumber(due[2]) - now_ms()) or -1,
}
