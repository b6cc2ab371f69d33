-- Create the run if the store does not know it. ARGV: epoch, max_losses, lease_ms, created_for, done (ranges of
-- positions that an earlier epoch has done for good), how many they are, how many of them are cancelled, repeats
-- (items that run again because an earlier epoch was lost), sha256 (of the source, as that epoch loaded it), early (1:
-- chunks may be claimed while the source is loaded), 1 where results go to a destination, bytes of results that may be
-- here (0: no limit).
-- Returns the epoch in force. Writes meta.

if redis.call('HSETNX', KEY.meta, 'schema', SCHEMA) == 1 then
  redis.call('HSET', KEY.meta, 'epoch', ARGV[1], 'state', 'loading', 'max_losses', ARGV[2], 'lease_ms', ARGV[3],
    'created_for', ARGV[4], 'version', 1)
  redis.call('HSET', KEY.meta, 'done', ARGV[5], 'done_items', ARGV[6], 'done_cancelled', ARGV[7],
    'repeats', ARGV[8], 'pinned_sha256', ARGV[9], 'early', ARGV[10], 'destination', ARGV[11],
    'results_limit', ARGV[12])
end
read_run()
return redis.call('HGET', KEY.meta, 'epoch')
