-- Create the run if the store does not know it. ARGV: epoch, max_losses, lease_ms, created_for. Returns the epoch in
-- force. Writes meta.

if redis.call('HSETNX', KEY.meta, 'schema', SCHEMA) == 1 then
  redis.call('HSET', KEY.meta, 'epoch', ARGV[1], 'state', 'loading', 'max_losses', ARGV[2], 'lease_ms', ARGV[3],
    'created_for', ARGV[4], 'version', 1)
end
read_run()
return redis.call('HGET', KEY.meta, 'epoch')
