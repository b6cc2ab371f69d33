-- Which items are done and need never be done again: neither open nor dead letters. No ARGV, writes nothing. Returns
-- ranges, flat [first, last, …], ascending; nil where nothing can be said: before the source is loaded (positions mean
-- something in the same source only, and what the status keeps to know it again is the SHA-256 of all of it), once the
-- run was broken off, and where too much is open to look through it in a moment. The operator alone calls this, but a run's
-- user may write its own keys by hand: hence the bounds.

local MOST_CHUNKS = 20000
local MOST_LEASED = 200000 -- items
local MOST_RANGES = 1000

local run = read_run()
local total = tonumber(redis.call('HGET', KEY.meta, 'total') or 0)
local state = run.state
if (state ~= 'open' and state ~= 'sealing' and state ~= 'closed') or total == 0 then
  return nil
end
local sizes = redis.call('LLEN', KEY.pending) + redis.call('LLEN', KEY.suspects) + redis.call('ZCARD', KEY.retry)
  + redis.call('ZCARD', KEY.failed) + redis.call('ZCARD', KEY.lease)
if sizes > MOST_CHUNKS then
  return nil
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
local leased = 0
for _, id in ipairs(redis.call('ZRANGE', KEY.lease, 0, -1)) do
  leased = leased + size(parse_chunk(id))
  if leased > MOST_LEASED then
    return nil
  end
  local chunk = must_read_lease(id)
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
