-- What every script begins with. Above this stand lines made from keys.py: `local SCHEMA`, `local OLDEST_SCHEMA`,
-- `local CHUNK_LIMIT` and `local KEY`, the table of this run's keys by name (all of KEYS).

local WAKE_ALL = 64 -- tokens that reach every waiting worker of any sensible run
local EVENTS_KEPT = 1000 -- of a run, about: what its watchers may have missed

local function stop(code, sentence)
  error({err = code .. ' ' .. sentence})
end

-- The run; its absence stops the script, so that nothing can make keys of a deleted or lost run again.
-- `claimable`: chunks may be granted. Of a run that was opened `early` that is so while the source is still being
-- loaded: its state stays `loading`, since its end is not in sight, so it can neither be sealed nor look finished.
local function read_run()
  local f = redis.call('HMGET', KEY.meta, 'schema', 'state', 'paused', 'max_losses', 'lease_ms', 'abandoned',
    'early', 'destination', 'results_limit', 'result_bytes', 'breaker', 'partial')
  if not f[1] then
    stop('RUNGONE', 'the store does not know this run: it was deleted, or the store was emptied')
  end
  if tonumber(f[1]) > SCHEMA then
    stop('NEWERSCHEMA', 'the run was made by a newer version (schema ' .. f[1] .. '); upgrade this one')
  end
  if tonumber(f[1]) < OLDEST_SCHEMA then
    stop('OLDERSCHEMA', 'the run was made by a version that is too old for this one (schema ' .. f[1] .. '): let that'
      .. ' version finish it, or cancel it and create it again')
  end
  return {
    state = f[2],
    paused = f[3] == '1',
    max_losses = tonumber(f[4]),
    lease_ms = tonumber(f[5]),
    abandoned = f[6] == '1',
    claimable = f[2] == 'open' or (f[2] == 'loading' and f[7] == '1'),
    destination = f[8] == '1', -- results are sealed into parts there; else they stay here
    results_limit = tonumber(f[9] or 0), -- bytes that may be here; 0: as many as there are
    result_bytes = tonumber(f[10] or 0),
    breaker = f[11],
    partial = tonumber(f[12] or 0), -- thousandths of an item: how far those in hand are, as their processor tells
    ended = f[2] == 'closed' or f[2] == 'failed' or f[2] == 'cancelled',
  }
end

-- What works items off, or ends a run, goes on though the memory of the server is full: a script that has begun with a
-- write that takes none is let go on with others, and to remove what is not there is such a one.
local function write_though_full()
  redis.call('HDEL', KEY.meta, '')
end

-- The server's clock in milliseconds: the only one that leases and retries know.
local function now_ms()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- A token that was never given out before, even by a server that forgot its last second in a crash: hence the clock.
local function next_fence()
  local last = tonumber(redis.call('HGET', KEY.meta, 'fence') or 0)
  local fence = math.max(last + 1, now_ms() * 1000)
  redis.call('HSET', KEY.meta, 'fence', fence)
  return fence
end

-- Counters change by `move` only (and by loading), so they conserve; `save_counts` writes them in one go.
local delta = {}

local function count(name, n)
  delta[name] = (delta[name] or 0) + n
end

local function move(n, from, to)
  count(from, -n)
  count(to, n)
end

local function touch()
  redis.call('HINCRBY', KEY.meta, 'version', 1)
end

-- Returns whether anything changed.
local function save_counts()
  local changed = false
  for name, n in pairs(delta) do
    if n ~= 0 then
      redis.call('HINCRBY', KEY.counters, name, n)
      changed = true
    end
  end
  delta = {}
  if changed then
    touch()
  end
  return changed
end

local OPEN = {'waiting', 'delayed', 'active'} -- counters of items that are not terminal

-- How many items are not terminal, with what this call has moved so far.
local function open_items()
  local open, counted = 0, redis.call('HMGET', KEY.counters, unpack(OPEN))
  for i, name in ipairs(OPEN) do
    open = open + tonumber(counted[i] or 0) + (delta[name] or 0)
  end
  return open
end

-- Tokens on the wake-up list: one for each chunk that became available, WAKE_ALL for a change of state.
local function wake(tokens)
  for _ = 1, math.min(tokens, WAKE_ALL) do
    redis.call('RPUSH', KEY.wake, '1')
  end
  redis.call('LTRIM', KEY.wake, 0, WAKE_ALL - 1)
end

-- One event for whoever watches the run: its type, then names and values.
local function tell(kind, ...)
  redis.call('XADD', KEY.events, 'MAXLEN', '~', EVENTS_KEPT, '*', 'type', kind, ...)
end

-- Whether more results are here than may be.
local function is_over_limit(run)
  return run.results_limit > 0 and run.result_bytes > run.results_limit
end

local function set_state(state)
  redis.call('HSET', KEY.meta, 'state', state)
  touch()
  wake(WAKE_ALL)
  tell(state, unpack(redis.call('HGETALL', KEY.counters)))
end

-- Every item has ended: there is nothing left to hold, and the rest of the run must not wait for a decision.
-- Returns whether the breaker held the run.
local function put_breaker_away()
  redis.call('UNLINK', KEY.window)
  local has_tripped = redis.call('HDEL', KEY.meta, 'tripped') == 1
  if has_tripped then
    redis.call('HSET', KEY.meta, 'paused', 0)
  end
  return has_tripped
end

-- Ends a run before its time. Items of an unfinished load that nobody could claim were never accepted; others that
-- are not terminal are cancelled, and they are all the items that the run will ever have had. Owner tokens go, so every
-- later commit is refused.
local function conclude(run, state, reason, message)
  write_though_full()
  local accepted = run.state ~= 'loading' or run.claimable
  for _, name in ipairs(OPEN) do
    local n = tonumber(redis.call('HGET', KEY.counters, name) or 0)
    if accepted then
      move(n, name, 'cancelled')
    else
      count(name, -n)
    end
  end
  save_counts()
  if accepted and run.state == 'loading' then
    redis.call('HSET', KEY.meta, 'total', redis.call('HGET', KEY.meta, 'loaded') or 0)
  end
  redis.call('UNLINK', KEY.owner, KEY.lease, KEY.checkpoint, KEY.held, KEY.pending, KEY.suspects, KEY.retry,
    KEY.data, KEY.left, KEY.attempts, KEY.losses, KEY.duty, KEY.unsealed, KEY.window, KEY.ledger)
  redis.call('HDEL', KEY.meta, 'partial', 'said_item', 'said')
  if reason ~= '' then
    redis.call('HSET', KEY.meta, 'reason', reason, 'message', message)
  end
  set_state(state)
end
