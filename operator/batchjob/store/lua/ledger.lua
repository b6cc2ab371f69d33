-- Note or forget something about an item apart from its outcome. ARGV: position, the chunk in hand, its fence, and the
-- note, if any. Writes ledger. Only whoever has the item in hand writes: the note goes when the item ends.

read_run()
if string.match(redis.call('HGET', KEY.owner, ARGV[2]) or '', '^%d+') ~= ARGV[3] then
  stop('LEASELOST', 'the item is not in this worker\'s hands any more')
end
write_though_full()
if ARGV[4] then
  redis.call('HSET', KEY.ledger, ARGV[1], ARGV[4])
else
  redis.call('HDEL', KEY.ledger, ARGV[1])
end
