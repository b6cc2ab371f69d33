-- Shared by the scripts that move items: chunks, leases, outcomes, losses. A chunk is a table
-- {id, field, first, last, done = {[position] = true}, open = items still in it}.

local now = now_ms()
local fields = {} -- unpacked in this call, by field
local terminal = {} -- items that became terminal in this call, by field
local returned = 0 -- chunks that became available in this call

local function item_of(field, position)
  if not fields[field] then
    fields[field] = cmsgpack.unpack(redis.call('HGET', KEY.data, field))
  end
  local at = 2 * (position - tonumber(string.match(field, '^%d+')))
  return fields[field][at + 1], fields[field][at + 2]
end

local function parse_chunk(id)
  local field, first, last = string.match(id, '^(%d+%+%d+)/(%d+)%-(%d+)$')
  return {id = id, field = field, first = tonumber(first), last = tonumber(last)}
end

local function chunk_id(field, first, last)
  return field .. '/' .. first .. '-' .. last
end

local function size(chunk)
  return chunk.last - chunk.first + 1
end

-- An item that becomes terminal is forgotten: only single items (retried or lost before) have marks of their own.
local function forget(chunk, position)
  terminal[chunk.field] = (terminal[chunk.field] or 0) + 1
  if size(chunk) == 1 then
    redis.call('HDEL', KEY.attempts, position)
    redis.call('HDEL', KEY.losses, position)
  end
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

-- Every item of a chunk from `first` on that is still in it goes back to the head of the queue, in order, as few
-- chunks as possible.
local function put_back_open(run, chunk, first)
  local last = nil
  for position = chunk.last, first, -1 do
    if not chunk.done[position] then
      last = last or position
      if position == first or chunk.done[position - 1] then
        put_back(run, 'LPUSH', chunk.field, position, last)
        move(last - position + 1, 'active', 'waiting')
        last = nil
      end
    end
  end
end

-- The leased chunk `id` with its owner's fence, started, number and worker; nil if nobody holds it.
local function read_lease(id)
  local owner = redis.call('HGET', KEY.owner, id)
  if not owner then
    return nil
  end
  local chunk = parse_chunk(id)
  local fence, started, number, worker = string.match(owner, '^(%d+)/(%d+)/(%d+)/(.*)$')
  chunk.fence, chunk.started, chunk.number = tonumber(fence), tonumber(started), tonumber(number)
  chunk.worker, chunk.done, chunk.open = worker, {}, size(chunk)
  local marks = redis.call('HGET', KEY.checkpoint, id)
  for i = 1, marks and #marks or 0 do
    if string.byte(marks, i) == 49 then
      chunk.done[chunk.first + i - 1] = true
      chunk.open = chunk.open - 1
    end
  end
  return chunk
end

local function write_lease(run, chunk)
  local owner = table.concat({chunk.fence, chunk.started, chunk.number, chunk.worker}, '/')
  redis.call('HSET', KEY.owner, chunk.id, owner)
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
  local held = redis.call('HGET', KEY.held, chunk.worker)
  if held and held ~= 'alone' and tonumber(held) > 1 then
    redis.call('HINCRBY', KEY.held, chunk.worker, -1)
  else
    redis.call('HDEL', KEY.held, chunk.worker)
  end
end

-- The worker of an item that may have been started was lost. Such items come back one by one, at the tail: what
-- kills workers must not stand before its neighbours. The last life spent, the item is a dead letter.
local function lose(run, chunk, position)
  local losses = redis.call('HINCRBY', KEY.losses, position, 1)
  if losses < run.max_losses then
    put_back(run, 'RPUSH', chunk.field, position, position)
    move(1, 'active', 'waiting')
    count('retried_after_loss', 1)
    return
  end
  bury(chunk, position, 'infrastructure',
    'its worker was lost ' .. losses .. ' times while it ran (maxLosses ' .. run.max_losses .. ')', 0)
  redis.call('HDEL', KEY.losses, position)
  move(1, 'active', 'failed')
end

-- The lease of a chunk ran out: what was started is lost, what was not goes back as it is.
local function expire(run, id)
  local chunk = read_lease(id)
  end_lease(chunk)
  local untouched = math.min(chunk.first + chunk.started, chunk.last + 1)
  put_back_open(run, chunk, untouched)
  for position = chunk.first, untouched - 1 do
    if not chunk.done[position] then
      lose(run, chunk, position)
    end
  end
end
