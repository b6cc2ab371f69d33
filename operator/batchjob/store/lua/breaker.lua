-- Set the circuit breaker. ARGV: percent/window/least[/tokens] of breaker_watch.lua; empty: none. Writes meta.breaker, window.
-- It changes for what ends from now on: what has tripped stays tripped.

read_run()
if ARGV[1] == '' then
  redis.call('HDEL', KEY.meta, 'breaker')
  redis.call('UNLINK', KEY.window)
else
  redis.call('HSET', KEY.meta, 'breaker', ARGV[1])
end
touch()
