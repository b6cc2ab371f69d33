-- Add fields of items. ARGV: token, then first position, number of items, packed items for each field.
-- Writes data, left, pending, counters.waiting, duty. A field that is there already is left as it is.

local run = read_run()
renew_duty(run, 'load', ARGV[1])
for i = 2, #ARGV, 3 do
  local first, n = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
  local field = first .. '+' .. n
  if redis.call('HSETNX', KEY.data, field, ARGV[i + 2]) == 1 then
    redis.call('HSET', KEY.left, field, n)
    redis.call('RPUSH', KEY.pending, field .. '/' .. first .. '-' .. (first + n - 1))
    count('waiting', n)
  end
end
save_counts()
