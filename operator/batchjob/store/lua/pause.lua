-- Stop or go on granting chunks. ARGV: 1 or 0, with 0 a resume token (empty: none). A run whose circuit breaker tripped
-- goes on with a token alone, which the run remembers, and with an empty window.
-- Writes meta (paused, tripped, resumed_by), window, wake, events.

local run = read_run()
local pause, token = ARGV[1] == '1', ARGV[2] or ''
local is_held = not pause and redis.call('HEXISTS', KEY.meta, 'tripped') == 1
if not run.ended and run.paused ~= pause and not (is_held and token == '') then
  redis.call('HSET', KEY.meta, 'paused', ARGV[1])
  if is_held then
    redis.call('HSET', KEY.meta, 'resumed_by', token)
    redis.call('HDEL', KEY.meta, 'tripped')
    redis.call('UNLINK', KEY.window)
  end
  touch()
  wake(WAKE_ALL)
  tell(pause and 'paused' or 'resumed')
end
