-- How far a run is, and when its watchers are told. With items.lua; `hear` is for a leased chunk.

local PROGRESS_MS = 250 -- between two events of progress: more often nobody reads

-- How far the items in hand are. What is said goes out with the next event of progress, the last of it alone.
local function hear(chunk, progress)
  partial_change = partial_change + progress[1] - chunk.partial
  chunk.partial = progress[1]
  if progress[2] ~= '' then
    redis.call('HSET', KEY.meta, 'said_item', progress[2], 'said', progress[3])
    touch()
  end
end

-- Keeps how far the run has ever been: with what is finished counts the part that is done of the items in hand, which
-- falls where one of them is tried again.
local function save_reached(run)
  if partial_change ~= 0 then
    run.partial = redis.call('HINCRBY', KEY.meta, 'partial', partial_change)
    touch()
  end
  local reached = run.partial
  for _, ended in ipairs(redis.call('HMGET', KEY.counters, 'succeeded', 'failed', 'cancelled')) do
    reached = reached + 1000 * tonumber(ended or 0)
  end
  if reached > tonumber(redis.call('HGET', KEY.meta, 'reached') or 0) then
    redis.call('HSET', KEY.meta, 'reached', reached)
  end
end

-- An event of progress, once there is any and the last is a while ago: the next exchange tells what this one does not.
-- Returns whether it told.
local function tell_progress()
  local f = redis.call('HMGET', KEY.meta, 'version', 'told_version', 'told_ms', 'reached', 'said_item', 'said')
  if f[1] ~= f[2] and now - tonumber(f[3] or 0) >= PROGRESS_MS then
    local said = redis.call('HGETALL', KEY.counters)
    for i, name in ipairs({'reached', 'item', 'message'}) do
      if f[3 + i] then
        said[#said + 1], said[#said + 2] = name, f[3 + i]
      end
    end
    tell('progress', unpack(said))
    redis.call('HSET', KEY.meta, 'told_version', f[1], 'told_ms', now)
    if f[5] then
      redis.call('HDEL', KEY.meta, 'said_item', 'said')
    end
    return true
  end
  return false
end
