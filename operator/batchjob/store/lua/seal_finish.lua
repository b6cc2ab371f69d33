-- Close the run. ARGV: token, URI of the results, SHA-256 of the manifest (empty: results stay here).
-- Writes meta (state, results_uri, manifest_sha256, sealed_by), duty, unsealed, wake. Sent twice it does nothing more.

local run = read_run()
local token = ARGV[1]
if redis.call('HGET', KEY.meta, 'sealed_by') == token then
  return
end
check_duty('seal', token)
if run.state ~= 'sealing' then
  stop('INCOMPLETE', 'the run is ' .. run.state .. ': its results cannot be complete yet')
end
write_though_full()
redis.call('HSET', KEY.meta, 'results_uri', ARGV[2], 'manifest_sha256', ARGV[3], 'sealed_by', token)
redis.call('UNLINK', KEY.duty, KEY.unsealed)
set_state('closed')
