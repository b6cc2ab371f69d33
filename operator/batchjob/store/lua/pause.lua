-- Stop or go on granting chunks. ARGV: 1 or 0. Writes meta.paused, wake, events.

local run = read_run()
if not run.ended and run.paused ~= (ARGV[1] == '1') then
  redis.call('HSET', KEY.meta, 'paused', ARGV[1])
  touch()
  wake(WAKE_ALL)
  tell(ARGV[1] == '1' and 'paused' or 'resumed')
end
