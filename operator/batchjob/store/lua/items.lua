-- Shared by the scripts that move items: chunks, leases, outcomes, losses. A chunk is a table {id, field, first, last,
-- losses}; under a lease also {fence, started, number, worker, done = {[position] = true}, open = items still in it,
-- partial = thousandths of an item that those in hand are done}.
-- Two rules keep it simple: all items of a chunk were lost equally often, and an item with attempts is alone in its.

local now = now_ms()
local fields = {} -- unpacked in this call, by field
local terminal = {} -- items that became terminal in this call, by field
local returned = 0 -- chunks that became available in this call
local buried = 0 -- dead letters of this call
local partial_change = 0 -- of the run's `partial` by this call
local has_notes = redis.call('HLEN', KEY.ledger) > 0
local MOST_TOLD = 10 -- dead letters of a call that have an event each; `failed` counts them all

local function item_of(field, position)
  if not fields[field] then
    fields[field] = cmsgpack.unpack(redis.call('HGET', KEY.data, field))
  end
  local at = 2 * (position - tonumber(string.match(field, '^%d+')))
  return fields[field][at + 1], fields[field][at + 2]
end

-- A run's user may write its own keys by hand: what no script of ours wrote must not make one run for ever.
local function parse_chunk(id)
  local start, n, first, last = string.match(id, '^(%d+)%+(%d+)/(%d+)%-(%d+)$')
  start, n, first, last = tonumber(start), tonumber(n), tonumber(first), tonumber(last)
  if not n or n > CHUNK_LIMIT or first < start or last < first or last >= start + n then
    stop('DAMAGED', string.sub(id, 1, 64) .. ' is no chunk: something but BatchJob wrote into the keys of this run')
  end
  return {id = id, field = string.match(id, '^[^/]+'), first = first, last = last, losses = 0}
end

local function chunk_id(field, first, last)
  return field .. '/' .. first .. '-' .. last
end

local function size(chunk)
  return chunk.last - chunk.first + 1
end

-- What is known of an item goes when it becomes terminal.
local function forget(chunk, position)
  if chunk.first == chunk.last then
    redis.call('HDEL', KEY.attempts, position)
  end
  if chunk.losses > 0 then
    redis.call('HDEL', KEY.losses, position)
  end
  if has_notes then
    redis.call('HDEL', KEY.ledger, position)
  end
end

-- Counts n items of a leased chunk as terminal.
local function finish(chunk, n, state)
  terminal[chunk.field] = (terminal[chunk.field] or 0) + n
  move(n, 'active', state)
end

-- Drops the packed items of fields that have nothing left to do; after the last use of `item_of`.
local function drop_finished_fields()
  for field, n in pairs(terminal) do
    if redis.call('HINCRBY', KEY.left, field, -n) <= 0 then
      redis.call('HDEL', KEY.left, field)
      redis.call('HDEL', KEY.data, field)
    end
  end
end

local function bury(chunk, position, class, message, spent)
  local id, data = item_of(chunk.field, position)
  local attempts = tonumber(redis.call('HGET', KEY.attempts, position) or 0) + spent
  local losses = tonumber(redis.call('HGET', KEY.losses, position) or 0)
  redis.call('HSET', KEY.dead, position, cmsgpack.pack({id, class, message, attempts, losses, data, now}))
  redis.call('ZADD', KEY.failed, position, position)
  redis.call('LPUSH', KEY.errors, cmsgpack.pack({id, class, message}))
  redis.call('LTRIM', KEY.errors, 0, 9)
  redis.call('HINCRBY', KEY.tally, 'failed:' .. class, 1)
  buried = buried + 1
  if buried <= MOST_TOLD then
    tell('item_failed', 'position', position, 'id', id, 'class', class, 'message', message)
  end
  forget(chunk, position)
end

-- One loss more would end the item, so it may not share its fate with a neighbour. (With maxLosses 1 the first loss
-- ends whatever was in flight: there is no earlier sign to go by.)
local function is_suspect(run, position)
  return run.max_losses > 1 and tonumber(redis.call('HGET', KEY.losses, position) or 0) >= run.max_losses - 1
end

local function put_back(run, push, field, first, last)
  local list = KEY.pending
  if first == last and is_suspect(run, first) then
    list = KEY.suspects
  end
  redis.call(push, list, chunk_id(field, first, last))
  returned = returned + 1
end

-- One position more, of ranges {first, last} in ascending order.
local function extend(ranges, position)
  local range = ranges[#ranges]
  if range and range[2] == position - 1 then
    range[2] = position
  else
    ranges[#ranges + 1] = {position, position}
  end
end

-- The items from `first` to `last` that are still in the chunk, as ranges.
local function open_ranges(chunk, first, last)
  local ranges = {}
  for position = first, last do
    if not chunk.done[position] then
      extend(ranges, position)
    end
  end
  return ranges
end

-- Items of a leased chunk go back to the head of the queue, in order, each range as one chunk.
local function give_back(run, chunk, ranges)
  for i = #ranges, 1, -1 do
    local from, to = unpack(ranges[i])
    put_back(run, 'LPUSH', chunk.field, from, to)
    move(to - from + 1, 'active', 'waiting')
  end
end

-- The leased chunk `id`; nil if nobody holds it.
local function read_lease(id)
  local owner = redis.call('HGET', KEY.owner, id)
  if not owner then
    return nil
  end
  local chunk = parse_chunk(id)
  local fence, started, number, losses, rest = string.match(owner, '^(%d+)/(%d+)/(%d+)/(%d+)/(.*)$')
  local partial, worker = string.match(rest, '^(%d+)/(.*)$')
  chunk.fence, chunk.started, chunk.number = tonumber(fence), tonumber(started), tonumber(number)
  chunk.losses, chunk.worker, chunk.done, chunk.open = tonumber(losses), worker or rest, {}, size(chunk)
  chunk.partial = tonumber(partial or 0)
  local marks = redis.call('HGET', KEY.checkpoint, id)
  for i = 1, marks and math.min(#marks, size(chunk)) or 0 do
    if string.byte(marks, i) == 49 then
      chunk.done[chunk.first + i - 1] = true
      chunk.open = chunk.open - 1
    end
  end
  return chunk
end

-- The same of a chunk that is in `lease`, and so has an owner.
local function must_read_lease(id)
  local chunk = read_lease(id)
  if not chunk then
    stop('DAMAGED', string.sub(id, 1, 64) .. ' has no owner: something but BatchJob wrote into the keys of this run')
  end
  return chunk
end

local function write_lease(run, chunk)
  local numbers = string.format('%.0f/%d/%.0f/%d/', chunk.fence, chunk.started, chunk.number, chunk.losses)
  local partial = chunk.partial > 0 and string.format('%d/', chunk.partial) or ''
  redis.call('HSET', KEY.owner, chunk.id, numbers .. partial .. chunk.worker)
  redis.call('ZADD', KEY.lease, now + run.lease_ms, chunk.id)
  if chunk.open < size(chunk) then
    local marks = {}
    for position = chunk.first, chunk.last do
      marks[#marks + 1] = chunk.done[position] and '1' or '0'
    end
    redis.call('HSET', KEY.checkpoint, chunk.id, table.concat(marks))
  end
end

-- Ends a lease. The owner's token goes first: from here on nothing of that worker is accepted.
local function end_lease(chunk)
  redis.call('HDEL', KEY.owner, chunk.id)
  redis.call('ZREM', KEY.lease, chunk.id)
  redis.call('HDEL', KEY.checkpoint, chunk.id)
  partial_change = partial_change - chunk.partial
  local held = redis.call('HGET', KEY.held, chunk.worker)
  if held and held ~= 'alone' and tonumber(held) > 1 then
    redis.call('HINCRBY', KEY.held, chunk.worker, -1)
  else
    redis.call('HDEL', KEY.held, chunk.worker)
  end
end

local function end_life(run, chunk, position, losses)
  local often = losses == 1 and 'once' or losses .. ' times'
  local message = 'its worker was lost ' .. often .. ' while it ran (maxLosses ' .. run.max_losses .. ')'
  bury(chunk, position, 'infrastructure', message, 0)
  redis.call('HDEL', KEY.losses, position)
  finish(chunk, 1, 'failed')
end

-- The worker of items that may have been started was lost. They go to the tail: what kills workers must not stand
-- before its neighbours. After the first loss they stay together (a part of an export keeps its name), later each
-- comes back alone; with its last life spent, an item is a dead letter.
local function lose(run, chunk, first, last)
  local losses = chunk.losses + 1
  local together = losses == 1 and run.max_losses > 2
  for position = first, last do
    redis.call('HSET', KEY.losses, position, losses)
    if losses >= run.max_losses then
      end_life(run, chunk, position, losses)
    elseif not together then
      put_back(run, 'RPUSH', chunk.field, position, position)
    end
  end
  if together then
    put_back(run, 'RPUSH', chunk.field, first, last)
  end
  if losses < run.max_losses then
    move(last - first + 1, 'active', 'waiting')
    count('retried_after_loss', last - first + 1)
  end
end

-- The lease of a chunk ran out: what was started is lost, what was not goes back as it is.
local function expire(run, id)
  local chunk = must_read_lease(id)
  end_lease(chunk)
  local untouched = math.min(chunk.first + chunk.started, chunk.last + 1)
  give_back(run, chunk, open_ranges(chunk, untouched, chunk.last))
  for _, lost in ipairs(open_ranges(chunk, chunk.first, untouched - 1)) do
    lose(run, chunk, lost[1], lost[2])
  end
end
