-- Stop or go on granting chunks. ARGV: 1 or 0, with 0 a resume token (empty: none). A run whose circuit breaker tripped
-- goes on with a token alone, which the run remembers, and with an empty window; once every item has ended, it is held
-- no longer (`put_breaker_away`).
-- Writes meta (paused, tripped, resumed_by), window, wake, events.

local run = read_run()
local pause, token = ARGV[1] == '1', ARGV[2] or ''
local has_tripped = redis.call('HEXISTS', KEY.meta, 'tripped') == 1
local is_held = has_tripped and not pause and token == ''
if not run.ended and run.paused ~= pause and not is_held then
  redis.call('HSET', KEY.meta, 'paused', ARGV[1])
  if has_tripped and not pause then
    redis.call('HSET', KEY.meta, 'resumed_by', token)
    redis.call('HDEL', KEY.meta, 'tripped')
    redis.call('UNLINK', KEY.window)
  end
  touch()
  wake(WAKE_ALL)
  tell(pause and 'paused' or 'resumed')
end
