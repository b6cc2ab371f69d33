-- The source is wrong, or the results cannot be finished: the run ends. ARGV: kind, token, reason, message.
-- Writes what `conclude` writes.

local run = read_run()
check_duty(ARGV[1], ARGV[2])
conclude(run, 'failed', ARGV[3], ARGV[4])
