-- What was counted of a run beside its counters: flat [name, number, …]. No ARGV, writes nothing.
-- A run's user may write its own keys by hand, so the answer is bounded: the operator has to hold it.

local MOST_NAMES = 512 -- more than there are buckets of durations and error classes together
local MOST_BYTES = 128 -- of a name or a number

if redis.call('EXISTS', KEY.meta) == 0 or redis.call('HLEN', KEY.tally) > MOST_NAMES then
  return {}
end
read_run()
local flat = redis.call('HGETALL', KEY.tally)
for i, value in ipairs(flat) do
  flat[i] = string.sub(value, 1, MOST_BYTES)
end
return flat
