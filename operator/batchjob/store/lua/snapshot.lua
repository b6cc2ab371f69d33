-- Read a run at one moment; nil: unknown. No ARGV, writes nothing. Returns meta, counters, usage (each flat), the
-- first 1000 failed positions, the last errors, and the milliseconds until the next delayed item (-1: none).
-- A run's user may write its own keys by hand, so the answer is bounded: the operator has to hold it.

local MOST_BYTES = 8192 -- of a value: 2048 characters, what a condition can show
local MOST_USAGE = 1000 -- names

local function all_of(key, most)
  if redis.call('HLEN', key) > most then
    return {}
  end
  local flat = redis.call('HGETALL', key)
  for i, value in ipairs(flat) do
    flat[i] = string.sub(value, 1, MOST_BYTES)
  end
  return flat
end

if redis.call('EXISTS', KEY.meta) == 0 then
  return nil
end
read_run()
local errors = {}
for _, packed in ipairs(redis.call('LRANGE', KEY.errors, 0, 9)) do
  if #packed <= MOST_BYTES then
    errors[#errors + 1] = packed
  end
end
local due = redis.call('ZRANGE', KEY.retry, 0, 0, 'WITHSCORES')
return {
  all_of(KEY.meta, 64),
  all_of(KEY.counters, 64),
  all_of(KEY.usage, MOST_USAGE),
  redis.call('ZRANGE', KEY.failed, 0, 999),
  errors,
  due[2] and math.max(0, tonumber(due[2]) - now_ms()) or -1,
}
