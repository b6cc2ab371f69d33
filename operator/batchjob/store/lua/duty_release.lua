-- Give a duty back, so that another worker may take it at once. ARGV: kind, token. Writes duty, wake.
-- Sent twice it does nothing more, and nothing to whoever has the duty by then.

read_run()
local f = redis.call('HMGET', KEY.duty, 'kind', 'token')
if f[1] == ARGV[1] and f[2] == ARGV[2] then
  redis.call('UNLINK', KEY.duty)
  wake(1)
end
