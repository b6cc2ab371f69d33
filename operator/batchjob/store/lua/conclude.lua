-- End the run as cancelled or failed. ARGV: state, reason, message (empty: none). Does nothing to one that has ended.
-- Writes what `conclude` writes.

local run = read_run()
if not run.ended then
  conclude(run, ARGV[1], ARGV[2], ARGV[3])
end
