-- Keep a duty. ARGV: kind, token, and for trouble with the source: class, message. Writes duty, meta.load_error_*.

local run = read_run()
write_though_full()
renew_duty(run, ARGV[1], ARGV[2])
if ARGV[3] then
  redis.call('HSET', KEY.meta, 'load_error_class', ARGV[3], 'load_error_message', ARGV[4])
  touch()
end
