-- Take a duty. ARGV: kind (load, seal), worker. Returns a token, or nil: held by another, or nothing to do.
-- Writes meta.fence, duty; for load also empties counters, data, left, pending.
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
if kind == 'load' then -- what an earlier loader left may come from a source that has changed since
  redis.call('UNLINK', KEY.counters, KEY.data, KEY.left, KEY.pending)
  touch()
end
local token = next_fence()
hold(run, kind, token, worker)
return token
