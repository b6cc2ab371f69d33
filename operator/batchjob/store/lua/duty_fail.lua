-- The source is wrong, or the results cannot be finished: the run ends. ARGV: kind, token, reason, message.
-- Writes what `conclude` writes. Does nothing to a run that has ended: so, sent twice, it does nothing more.

local run = read_run()
if not run.ended then
  check_duty(ARGV[1], ARGV[2])
  conclude(run, 'failed', ARGV[3], ARGV[4])
end
