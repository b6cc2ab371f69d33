-- Keep the parts that were sealed before the store was lost. ARGV: token, number of their items that are not in
-- meta.done, then name, JSON for each. Writes sealed, meta.sealed_items, duty. What an earlier loader kept is forgotten.

local run = read_run()
renew_duty(run, 'load', ARGV[1])
redis.call('UNLINK', KEY.sealed)
redis.call('HSET', KEY.meta, 'sealed_items', ARGV[2])
for i = 3, #ARGV, 2 do
  redis.call('HSET', KEY.sealed, ARGV[i], ARGV[i + 1])
end
