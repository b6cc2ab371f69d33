-- Close the run. ARGV: token, URI of the results, SHA-256 of the manifest (empty: results stay here).
-- Writes meta (state, results_uri, manifest_sha256, sealed_by), duty, wake. Sent twice it does nothing more.

read_run()
local token = ARGV[1]
if redis.call('HGET', KEY.meta, 'sealed_by') == token then
  return
end
check_duty('seal', token)
redis.call('HSET', KEY.meta, 'results_uri', ARGV[2], 'manifest_sha256', ARGV[3], 'sealed_by', token)
redis.call('UNLINK', KEY.duty)
set_state('closed')
