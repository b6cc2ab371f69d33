-- Commit, reap, promote and grant in one step. ARGV: worker, want (items), concurrency, msgpack of the commits
-- [[chunk, fence, number, started, release, succeeded, results, others, returned, usage, parts, durations, progress], …]
-- where
--   succeeded = [position, …]   results = [position, JSON, …]   usage, parts = {name: value}
--   durations = {bucket: attempts}
--   others = [["retried", position, class, message, delay ms, counts], ["failed", position, class, message],
--             ["cancelled", position], …]
--   returned = [position, …], ascending: not started after all
--   progress = nil where it is no news, else [thousandths of an item that those in hand are done, id, message]: of the
--              one that spoke last; an id of '': none did
-- Writes every key but sealed and notes.
-- Returns state, paused, ms until something falls due, changed, lost chunks,
-- granted chunks [[id, fence, packed field | [id, JSON, …], attempts, losses], …].

local REAPED = 32 -- expired leases that one call takes back, so that no call takes long
local PROMOTED = 256 -- due retries that one call takes back
local MOST_GRANTED = 2 * CHUNK_LIMIT -- items: more than any worker asks for
local MOST_BYTES = 4 * 1024 * 1024 -- of items, after which a grant takes no further chunk: heavy ones come a few at a time

local result_bytes = 0 -- of results that this call brought

-- Marks an item as out of its chunk. False: it is not in it, or this was said before.
local function leave(chunk, position)
  if position < chunk.first or position > chunk.last or chunk.done[position] then
    return false
  end
  chunk.done[position] = true
  chunk.open = chunk.open - 1
  return true
end

-- The hot path: one count for all, and nothing for each that is not needed.
local function succeed(run, chunk, positions, results)
  local n, bytes, first, last = 0, 0, math.huge, 0
  for i = 1, #results, 2 do
    local position = results[i]
    if leave(chunk, position) then
      local id = item_of(chunk.field, position)
      local result = results[i + 1]
      redis.call('HSET', KEY.results, position, cmsgpack.pack({id, result}))
      forget(chunk, position)
      n, bytes = n + 1, bytes + #id + #result
      first = position < first and position or first
      last = position > last and position or last
    end
  end
  if bytes > 0 then
    result_bytes = result_bytes + bytes
    if run.destination then
      redis.call('RPUSH', KEY.unsealed, first .. '-' .. last .. '/' .. bytes)
    end
  end
  for _, position in ipairs(positions) do
    if leave(chunk, position) then
      forget(chunk, position)
      n = n + 1
    end
  end
  if n > 0 then
    finish(chunk, n, 'succeeded')
  end
end

local settle = {}

function settle.retried(chunk, o)
  if o[6] then
    redis.call('HINCRBY', KEY.attempts, o[2], 1)
    redis.call('HINCRBY', KEY.tally, 'retried', 1)
  end
  redis.call('ZADD', KEY.retry, now + o[5], chunk_id(chunk.field, o[2], o[2]))
  move(1, 'active', 'delayed')
end

function settle.failed(chunk, o)
  bury(chunk, o[2], o[3], o[4], 1)
  finish(chunk, 1, 'failed')
end

function settle.cancelled(chunk, o)
  forget(chunk, o[2])
  finish(chunk, 1, 'cancelled')
end

-- False: the fence is not current, and nothing was written.
local function commit(run, c)
  local chunk = read_lease(c[1])
  if not chunk or chunk.fence ~= c[2] then
    return false
  end
  if c[3] > chunk.number then
    succeed(run, chunk, c[6], c[7])
    for _, outcome in ipairs(c[8]) do
      if leave(chunk, outcome[2]) then
        settle[outcome[1]](chunk, outcome)
      end
    end
    local back = {}
    for _, position in ipairs(c[9]) do
      if leave(chunk, position) then
        extend(back, position)
      end
    end
    give_back(run, chunk, back)
    for name, n in pairs(c[10]) do
      redis.pcall('HINCRBY', KEY.usage, name, n) -- a sum beyond 64 bits stays where it was
      touch()
    end
    for name, part in pairs(c[11]) do
      redis.call('HSET', KEY.parts, name, part)
    end
    for bucket, n in pairs(c[12]) do
      redis.call('HINCRBY', KEY.tally, 'took:' .. bucket, n)
    end
    if c[13] then
      hear(chunk, c[13])
    end
    chunk.number = c[3]
    chunk.started = math.max(chunk.started, c[4])
  end
  if chunk.open == 0 then
    end_lease(chunk)
  elseif c[5] then
    end_lease(chunk)
    give_back(run, chunk, open_ranges(chunk, chunk.first, chunk.last))
  else
    write_lease(run, chunk)
  end
  return true
end

local function reap(run)
  for _, id in ipairs(redis.call('ZRANGE', KEY.lease, '-inf', now, 'BYSCORE', 'LIMIT', 0, REAPED)) do
    expire(run, id)
  end
end

-- A due item goes to the head: it has waited its time already.
local function promote(run)
  for _, id in ipairs(redis.call('ZRANGE', KEY.retry, '-inf', now, 'BYSCORE', 'LIMIT', 0, PROMOTED)) do
    local chunk = parse_chunk(id)
    redis.call('ZREM', KEY.retry, id)
    put_back(run, 'LPUSH', chunk.field, chunk.first, chunk.last)
    move(1, 'delayed', 'waiting')
  end
end

-- What a worker needs of the items: the field as it was packed where the chunk is all of it, else the items.
local function payload(chunk)
  if chunk.field == chunk.first .. '+' .. size(chunk) then
    return redis.call('HGET', KEY.data, chunk.field)
  end
  local items = {}
  for position = chunk.first, chunk.last do
    items[#items + 1], items[#items + 2] = item_of(chunk.field, position)
  end
  return items
end

local function weight(packed)
  if type(packed) == 'string' then
    return #packed
  end
  local bytes = 0
  for _, part in ipairs(packed) do
    bytes = bytes + #part
  end
  return bytes
end

local function lease(run, chunk, worker)
  chunk.fence = next_fence()
  chunk.started, chunk.number, chunk.worker, chunk.open, chunk.partial = 0, 0, worker, size(chunk), 0
  chunk.losses = tonumber(redis.call('HGET', KEY.losses, chunk.first) or 0)
  write_lease(run, chunk)
  move(size(chunk), 'waiting', 'active')
  local attempts = size(chunk) == 1 and tonumber(redis.call('HGET', KEY.attempts, chunk.first) or 0) or 0
  return {chunk.id, chunk.fence, payload(chunk), attempts, chunk.losses}
end

-- The next chunk of at most `limit` items; the rest of a larger one stays at the head.
local function take(limit)
  local id = redis.call('LPOP', KEY.pending)
  if not id then
    return nil
  end
  local chunk = parse_chunk(id)
  if size(chunk) > limit then
    redis.call('LPUSH', KEY.pending, chunk_id(chunk.field, chunk.first + limit, chunk.last))
    chunk.last = chunk.first + limit - 1
    chunk.id = chunk_id(chunk.field, chunk.first, chunk.last)
  end
  return chunk
end

-- Guided self-scheduling: half of a fair share of what waits, so that the last items spread over all workers; rounded
-- up to what a worker runs at once.
local function fair_share(held, concurrency)
  local workers = redis.call('HLEN', KEY.held) + (held and 0 or 1)
  if workers == 1 then
    return math.huge
  end
  local waiting = tonumber(redis.call('HGET', KEY.counters, 'waiting') or 0) + (delta.waiting or 0)
  local share = math.max(1, math.ceil(waiting / (2 * workers)))
  return math.ceil(share / concurrency) * concurrency -- whole chunks, where a processor asked for their size
end

local function grant(run, worker, want, concurrency)
  local held = redis.call('HGET', KEY.held, worker)
  local may = run.claimable and not run.paused and not run.abandoned and not is_over_limit(run)
  if not may or want < 1 or held == 'alone' then
    return {}
  end
  local suspect = not held and redis.call('LPOP', KEY.suspects)
  if suspect then
    redis.call('HSET', KEY.held, worker, 'alone')
    return {lease(run, parse_chunk(suspect), worker)}
  end
  local granted, room = {}, math.min(want, MOST_GRANTED, fair_share(held, concurrency))
  local bytes = 0
  while room > 0 and bytes < MOST_BYTES do
    local chunk = take(room)
    if not chunk then
      break
    end
    local leased = lease(run, chunk, worker)
    granted[#granted + 1] = leased
    room, bytes = room - size(chunk), bytes + weight(leased[3])
  end
  if #granted > 0 then
    redis.call('HINCRBY', KEY.held, worker, #granted)
  end
  return granted
end

-- Tokens for what this call made available and did not take; none may be left over when nothing waits.
local function tell_waiting_workers()
  if redis.call('LLEN', KEY.pending) + redis.call('LLEN', KEY.suspects) == 0 then
    redis.call('DEL', KEY.wake)
  elseif returned > 0 then
    wake(returned)
  end
end

local function next_ms()
  local soonest = math.huge
  for _, key in ipairs({KEY.retry, KEY.lease}) do
    local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
    soonest = math.min(soonest, tonumber(first[2] or math.huge))
  end
  return soonest == math.huge and -1 or math.max(0, soonest - now)
end

local function size_in_words(bytes)
  return bytes < 1048576 and string.format('%d bytes', bytes) or string.format('%.1f MiB', bytes / 1048576)
end

local function too_large(run)
  return 'the results in the store have ' .. size_in_words(run.result_bytes) .. ', and a BatchJob may keep '
    .. size_in_words(run.results_limit) .. ' there. Set spec.results.destination in a new BatchJob: then they are '
    .. 'written to a bucket or a claim as they come. What is there stays in the store until status.results.expiresAt'
end

local run = read_run()
write_though_full()
local worker, want, concurrency = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local lost, granted = {}, {}
for _, c in ipairs(cmsgpack.unpack(ARGV[4])) do
  if not commit(run, c) then
    lost[#lost + 1] = c[1]
  end
end
if result_bytes > 0 then
  run.result_bytes = redis.call('HINCRBY', KEY.meta, 'result_bytes', result_bytes)
end
if run.claimable then
  reap(run)
  promote(run)
  watch(run)
  granted = grant(run, worker, want, concurrency)
  tell_waiting_workers()
end
drop_finished_fields()
local changed = save_counts()
if result_bytes > 0 and not run.destination and not run.ended and is_over_limit(run) then
  conclude(run, 'failed', 'ResultsTooLarge', too_large(run))
  run.state, run.claimable, changed = 'failed', false, true
end
if run.claimable and (run.partial > 0 or partial_change ~= 0) then
  save_reached(run)
end
if run.state == 'open' and open_items() == 0 then
  run.state = 'sealing'
  run.paused = run.paused and not put_breaker_away()
  set_state('sealing')
  changed = true
elseif run.claimable then
  changed = tell_progress() or changed -- who carries events on is told too, where a heartbeat brought the last of them
end
return {run.state, run.paused and 1 or 0, next_ms(), changed and 1 or 0, lost, granted}
