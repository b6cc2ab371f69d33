-- Add fields of items. ARGV: token, mark (a checksum of all items up to and with these; empty: none), then first
-- position, number of items, packed items for each field.
-- Writes data, left, pending, counters.waiting, duty, wake, meta (loaded: the position that comes next; loaded_mark).
-- What lies before `loaded` is left as it is: its items may be done and forgotten by the time it is sent again.

local run = read_run()
renew_duty(run, 'load', ARGV[1])
local loaded = tonumber(redis.call('HGET', KEY.meta, 'loaded') or 0)
local added = 0
for i = 3, #ARGV, 3 do
  local first, n = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
  if first >= loaded then
    local field = first .. '+' .. n
    redis.call('HSET', KEY.data, field, ARGV[i + 2])
    redis.call('HSET', KEY.left, field, n)
    redis.call('RPUSH', KEY.pending, field .. '/' .. first .. '-' .. (first + n - 1))
    count('waiting', n)
    loaded, added = first + n, added + 1
  end
end
if added > 0 then
  redis.call('HSET', KEY.meta, 'loaded', loaded, 'loaded_mark', ARGV[2])
  if run.claimable then
    wake(added)
  end
end
save_counts()
