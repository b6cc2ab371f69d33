-- Note or forget something about an item apart from its outcome. ARGV: position, and the note, if any. Writes ledger.
-- The note goes when the item ends; of a run that has ended nothing is noted any more.

local run = read_run()
if run.ended then
  return
end
if ARGV[2] then
  redis.call('HSET', KEY.ledger, ARGV[1], ARGV[2])
else
  redis.call('HDEL', KEY.ledger, ARGV[1])
end
