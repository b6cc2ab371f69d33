-- Stop or go on granting chunks. ARGV: 1 or 0, with 0 a resume token (empty: none). A run whose circuit breaker tripped
-- goes on with a token alone, which the run remembers, and with an empty window where it tripped over failures: who
-- grants more tokens forgives none. Once every item has ended, it is held no longer (`put_breaker_away`).
-- Writes meta (paused, tripped, resumed_by), window, wake, events.

local run = read_run()
local pause, token = ARGV[1] == '1', ARGV[2] or ''
local tripped = redis.call('HGET', KEY.meta, 'tripped') -- false where it has not
local is_held = tripped and not pause and token == ''
if not run.ended and run.paused ~= pause and not is_held then
  write_though_full()
  redis.call('HSET', KEY.meta, 'paused', ARGV[1])
  if tripped and not pause then
    redis.call('HSET', KEY.meta, 'resumed_by', token)
    redis.call('HDEL', KEY.meta, 'tripped')
    if string.sub(tripped, 1, 7) ~= 'tokens ' then
      redis.call('UNLINK', KEY.window)
    end
  end
  touch()
  wake(WAKE_ALL)
  tell(pause and 'paused' or 'resumed')
end
