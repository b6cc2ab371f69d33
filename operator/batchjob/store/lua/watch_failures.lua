-- The circuit breaker, for exchange: once more than `percent` of the last `window` items to end have failed, and at
-- least `least` of them have ended, the run is paused in the same call, so that nobody is granted anything more.
-- Constant work a call, as an entry comes and goes once: `window` holds what had ended and failed in all after each
-- call, oldest first, as done/failed.
-- Who ended first within a call is not known, so where the window begins inside of one, its items count as evenly
-- mixed. A run without a breaker has nothing to watch.

local MOST_ENTRIES = 10001 -- of the largest window: what a run's user added by hand must not keep the server

local function checked(number)
  return tonumber(number) or stop('DAMAGED', 'something but BatchJob wrote into the circuit breaker of this run')
end

-- The two oldest entries between which the window begins: {done, failed}, {done, failed}.
local function oldest_entries(begins)
  for _ = 1, MOST_ENTRIES do
    local pair, found = {}, redis.call('LRANGE', KEY.window, 0, 1)
    for i = 1, 2 do
      local done, failed = string.match(found[i] or '', '^(%d+)/(%d+)$')
      pair[i] = {checked(done), checked(failed)}
    end
    if pair[2][1] > begins then
      return pair[1], pair[2]
    end
    redis.call('LPOP', KEY.window)
  end
  return checked(nil)
end

local function watch_failures(run)
  local failed_now = delta.failed or 0
  local done_now = failed_now + (delta.succeeded or 0) + (delta.cancelled or 0)
  if not run.breaker or done_now == 0 then
    return
  end
  local percent, window, least = string.match(run.breaker, '^(%d+)/(%d+)/(%d+)$')
  percent, window, least = checked(percent), checked(window), checked(least)
  local c = redis.call('HMGET', KEY.counters, 'succeeded', 'failed', 'cancelled')
  local failed = tonumber(c[2] or 0)
  local done = failed + tonumber(c[1] or 0) + tonumber(c[3] or 0)
  if redis.call('LLEN', KEY.window) == 0 then
    redis.call('RPUSH', KEY.window, done .. '/' .. failed)
  end
  done, failed = done + done_now, failed + failed_now
  redis.call('RPUSH', KEY.window, done .. '/' .. failed)
  local before, after = oldest_entries(math.max(done - window, 0))
  if run.paused then
    return -- what ends in a pause is part of the window, and nothing is left to stop
  end
  local skipped = math.max(done - window - before[1], 0) -- of the items between the two
  local size, items = after[1] - before[1], done - before[1] - skipped
  -- All in whole numbers: a fraction that is a little too large would trip where exactly `percent` have failed.
  local failed_times_size = (failed - before[2]) * size - (after[2] - before[2]) * skipped
  local is_too_much = items >= least and 100 * failed_times_size > percent * items * size
  if is_too_much and (run.state == 'loading' or open_items() > 0) then -- else there is nothing left to stop
    run.paused = true
    local rounded = math.ceil(failed_times_size / size) -- never down to what is allowed
    redis.call('HSET', KEY.meta, 'paused', 1, 'tripped', rounded .. '/' .. items .. '/' .. percent .. '/' .. now)
    tell('tripped', 'failed', rounded, 'items', items)
  end
end
