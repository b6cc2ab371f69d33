-- Results are at the destination: keep the part's description and drop what it holds. ARGV: token, name, JSON, bytes
-- that its results have here, entries at the head of `unsealed` that it covers, msgpack of its positions as ranges
-- [first, last, …]. Writes sealed, results, unsealed, meta.result_bytes, duty, wake. Sent twice it does nothing more.

local BATCH = 1000 -- arguments of one command

local run = read_run()
check_duty('seal', ARGV[1])
if redis.call('HGET', KEY.sealed, ARGV[2]) then
  return
end
write_though_full()
redis.call('LTRIM', KEY.unsealed, ARGV[5], -1)
local ranges, batch = cmsgpack.unpack(ARGV[6]), {}
for i = 1, #ranges, 2 do
  for position = ranges[i], ranges[i + 1] do
    batch[#batch + 1] = position
    if #batch == BATCH then
      redis.call('HDEL', KEY.results, unpack(batch))
      batch = {}
    end
  end
end
if #batch > 0 then
  redis.call('HDEL', KEY.results, unpack(batch))
end
redis.call('HSET', KEY.sealed, ARGV[2], ARGV[3])
redis.call('HINCRBY', KEY.meta, 'result_bytes', -tonumber(ARGV[4]))
renew_duty(run, 'seal', ARGV[1])
if is_over_limit(run) then -- nothing was granted
  wake(WAKE_ALL)
end
