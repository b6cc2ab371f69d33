-- Which items are done and need never be done again: neither open nor dead letters. No ARGV, writes nothing. Returns
-- ranges, flat [first, last, …], ascending; empty where too many chunks are open to say so in a moment.

local MOST_CHUNKS = 20000
local MOST_RANGES = 1000

local run = read_run()
local total = tonumber(redis.call('HGET', KEY.meta, 'total') or 0)
if run.state == 'loading' or total == 0 then
  return {}
end
local sizes = redis.call('LLEN', KEY.pending) + redis.call('LLEN', KEY.suspects) + redis.call('ZCARD', KEY.retry)
  + redis.call('ZCARD', KEY.failed)
if sizes > MOST_CHUNKS then
  return {}
end

local open = {} -- {first, last} of what is not done
local function add(ids)
  for _, id in ipairs(ids) do
    local chunk = parse_chunk(id)
    open[#open + 1] = {chunk.first, chunk.last}
  end
end
add(redis.call('LRANGE', KEY.pending, 0, -1))
add(redis.call('LRANGE', KEY.suspects, 0, -1))
add(redis.call('ZRANGE', KEY.retry, 0, -1))
for _, id in ipairs(redis.call('ZRANGE', KEY.lease, 0, -1)) do
  local chunk = read_lease(id)
  for _, range in ipairs(open_ranges(chunk, chunk.first, chunk.last)) do
    open[#open + 1] = range
  end
end
for _, position in ipairs(redis.call('ZRANGE', KEY.failed, 0, -1)) do
  open[#open + 1] = {tonumber(position), tonumber(position)}
end
table.sort(open, function(a, b) return a[1] < b[1] end)

local done, next_position = {}, 0
open[#open + 1] = {total, total}
for _, range in ipairs(open) do
  if range[1] > next_position and #done < 2 * MOST_RANGES then
    done[#done + 1], done[#done + 2] = next_position, range[1] - 1
  end
  next_position = math.max(next_position, range[2] + 1)
end
return done
