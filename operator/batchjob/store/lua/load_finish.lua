-- Open the run. ARGV: token, number of items in the source, sha256, etag (empty: unknown), number of bad items that
-- were left out, a line about each of the first of them, number of items that were done before and whose results are
-- lost, their positions as ranges.
-- Writes meta (state, total, source_*, bad_item*, missing_*, loaded_by; clears load_error_*), counters, duty, wake; what
-- `put_breaker_away` writes.
-- Sent twice by the same loader it does nothing more.

read_run()
local token, total = ARGV[1], tonumber(ARGV[2])
if redis.call('HGET', KEY.meta, 'loaded_by') == token then
  return
end
check_duty('load', token)
local before = redis.call('HMGET', KEY.meta, 'done_items', 'done_cancelled', 'repeats', 'sealed_items')
local cancelled, sealed = tonumber(before[2] or 0), tonumber(before[4] or 0)
local done = tonumber(before[1] or 0) + sealed
local repeats = math.max(tonumber(before[3] or 0) - sealed, 0) -- whoever counted them did not know of the parts
local open, ended = open_items(), 0 -- items may have ended already where they could be claimed
for _, name in ipairs({'succeeded', 'failed', 'cancelled'}) do
  ended = ended + tonumber(redis.call('HGET', KEY.counters, name) or 0)
end
local loaded = open + ended
if loaded + done ~= total then
  stop('INCOMPLETE', 'the source has ' .. total .. ' items, but ' .. loaded .. ' arrived in the store, and ' .. done
    .. ' were done before')
end
redis.call('HSET', KEY.meta, 'total', total, 'loaded_by', token, 'source_sha256', ARGV[3], 'source_etag', ARGV[4],
  'bad_items', ARGV[5], 'bad_item_messages', ARGV[6], 'missing_results', ARGV[7], 'missing_positions', ARGV[8])
redis.call('HDEL', KEY.meta, 'load_error_class', 'load_error_message')
count('succeeded', done - cancelled)
count('cancelled', cancelled)
count('retried_after_loss', repeats)
save_counts()
redis.call('UNLINK', KEY.duty)
if open == 0 then
  put_breaker_away()
end
set_state(open > 0 and 'open' or 'sealing')
