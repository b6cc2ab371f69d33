-- Tell of a BatchJob. KEYS: told (what was told of it), events (stream of its owner), bell (stream of owners of whom
-- something was told). ARGV: told as it was read (empty: nothing was), told from now on, owner, how long it is kept and
-- how long the events are (ms), events of an owner and rings of the bell that are kept, about; then for each event job,
-- type, time, seq, data, uid.
-- Returns nil, or what was told where that is something else by now: another operator told meanwhile, and nothing is
-- written. What comes twice, since its answer was lost, is written once.

local known = redis.call('GET', KEYS[1]) or ''
if known ~= ARGV[1] or known == ARGV[2] then
  return known ~= ARGV[2] and known or nil
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[4])
for i = 8, #ARGV, 6 do
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[6], '*', 'job', ARGV[i], 'type', ARGV[i + 1], 'time', ARGV[i + 2],
    'seq', ARGV[i + 3], 'data', ARGV[i + 4], 'uid', ARGV[i + 5])
end
redis.call('PEXPIRE', KEYS[2], ARGV[5])
if #ARGV > 7 then
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[7], '*', 'owner', ARGV[3])
  redis.call('PEXPIRE', KEYS[3], ARGV[5])
end
return nil
