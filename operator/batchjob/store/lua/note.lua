-- Agree on a value for the whole run: the first writer's is in force. ARGV: name, value. Writes notes.
-- Returns the value in force.

read_run()
write_though_full()
redis.call('HSETNX', KEY.notes, ARGV[1], ARGV[2])
return redis.call('HGET', KEY.notes, ARGV[1])
