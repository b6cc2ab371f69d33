-- The circuit breaker, for exchange: once more than `percent` of the last `window` items to end have failed, and at
-- least `least` of them have ended, or once the run has used `tokens`, it is paused in the same call, so that nobody is
-- granted anything more. Constant work a call, as an entry comes and goes once: `window` holds what had ended and failed in all after each
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

-- Pauses the run until somebody decides, if there is something left to stop.
local function trip(run, kept, ...)
  if run.state == 'loading' or open_items() > 0 then
    run.paused = true
    redis.call('HSET', KEY.meta, 'paused', 1, 'tripped', kept .. '/' .. now)
    tell('tripped', ...)
  end
end

local function watch_failures(run, percent, window, least)
  local failed_now = delta.failed or 0
  local done_now = failed_now + (delta.succeeded or 0) + (delta.cancelled or 0)
  if percent == 100 or done_now == 0 then -- no more than all can fail
    return
  end
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
  if is_too_much then
    local rounded = math.ceil(failed_times_size / size) -- never down to what is allowed
    trip(run, rounded .. '/' .. items .. '/' .. percent, 'failed', rounded, 'items', items)
  end
end

-- What was used stays used: a run that goes on within the same budget trips again before it is granted anything.
local function watch_tokens(run, budget)
  local used = 0
  for _, tokens in ipairs(redis.call('HMGET', KEY.usage, 'promptTokens', 'completionTokens')) do
    used = used + checked(tokens or 0)
  end
  if not run.paused and used >= budget then
    local told = string.format('%.0f', used) -- `..` would write a large number with an exponent
    trip(run, 'tokens ' .. told .. '/' .. string.format('%.0f', budget), 'tokens', told)
  end
end

local function watch(run)
  if not run.breaker then
    return
  end
  local percent, window, least, tokens = string.match(run.breaker, '^(%d+)/(%d+)/(%d+)/?(%d*)$')
  watch_failures(run, checked(percent), checked(window), checked(least))
  if tokens ~= '' then
    watch_tokens(run, checked(tokens))
  end
end
