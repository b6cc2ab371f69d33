-- Take a duty. ARGV: kind (load, seal), worker. Returns a token, or nil: held by another, or nothing to do.
-- Writes meta.fence, duty; for load, unless chunks may have been claimed already, also empties counters, data, left,
-- pending and what meta and notes say of them.
-- A worker that asks again for what it holds gets a new token: the answer to its first call was lost.

local run = read_run()
local kind, worker = ARGV[1], ARGV[2]
if duty_of(run) ~= kind or run.abandoned then
  return nil
end
local f = redis.call('HMGET', KEY.duty, 'worker', 'deadline')
if f[1] and f[1] ~= worker and tonumber(f[2]) > now_ms() then
  return nil
end
write_though_full()
-- What an earlier loader left may come from a source that has changed since. Where items of it may be done, it stays,
-- and the loader sees by its mark whether the source is the same (`LoadLease.reached`).
if kind == 'load' and not run.claimable then
  redis.call('UNLINK', KEY.counters, KEY.data, KEY.left, KEY.pending)
  redis.call('HDEL', KEY.meta, 'loaded', 'loaded_mark')
  redis.call('HDEL', KEY.notes, 'fields')
  touch()
end
local token = next_fence()
hold(run, kind, token, worker)
return token
