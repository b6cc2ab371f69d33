-- Note or forget something about an item apart from its outcome. ARGV: position, and the note, if any. Writes ledger.

read_run()
if ARGV[2] then
  redis.call('HSET', KEY.ledger, ARGV[1], ARGV[2])
else
  redis.call('HDEL', KEY.ledger, ARGV[1])
end
