-- Give up what is not terminal, at least `limit` items a call where there are as many. ARGV: limit, message.
-- Returns the items still to do: call again until it is 0. Writes every key but usage, results, sealed, parts, ledger, notes.

local function next_chunk(run)
  local leased = redis.call('ZRANGE', KEY.lease, 0, 0)[1]
  if leased then
    local chunk = must_read_lease(leased)
    end_lease(chunk)
    give_back(run, chunk, open_ranges(chunk, chunk.first, chunk.last))
  end
  local due = redis.call('ZPOPMIN', KEY.retry)[1]
  if due then
    redis.call('RPUSH', KEY.pending, due)
    move(1, 'delayed', 'waiting')
  end
  local id = redis.call('LPOP', KEY.suspects) or redis.call('LPOP', KEY.pending)
  return id and parse_chunk(id)
end

local run = read_run()
if run.ended then
  return 0
end
if run.state == 'loading' then
  conclude(run, 'failed', 'WorkersFailed', ARGV[2])
  return 0
end
write_though_full()
redis.call('HSET', KEY.meta, 'abandoned', 1, 'message', ARGV[2]) -- so that an operator that dies here goes on
local room, chunk = tonumber(ARGV[1]), next_chunk(run)
while chunk do
  for position = chunk.first, chunk.last do
    bury(chunk, position, 'infrastructure', ARGV[2], 0)
  end
  move(size(chunk), 'waiting', 'active')
  finish(chunk, size(chunk), 'failed')
  room = room - size(chunk)
  chunk = room > 0 and next_chunk(run)
end
drop_finished_fields()
save_counts()
local open = open_items()
if open == 0 then
  conclude(run, 'closed', 'WorkersFailed', ARGV[2])
end
return open
