-- Give a duty back, so that another worker may take it at once. ARGV: kind, token. Writes duty, wake.

read_run()
check_duty(ARGV[1], ARGV[2])
redis.call('UNLINK', KEY.duty)
wake(1)
