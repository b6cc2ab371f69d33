-- The rows that a query finds, newest first. KEYS: rows, all, names, then the sets of the facets. ARGV: a plan in
-- msgpack: `sets` (a list of {excluded, {numbers of KEYS}}), `names` (a list of {excluded, {beginnings of a row}}),
-- `newest` and `oldest` (bounds of ids as ZRANGE has them), `limit` (rows), `budget` (looks).
-- Every list of the plan has to hold, with any of its members (excluded: with none). The list with the fewest ids drives:
-- its ids are walked and the other lists are asked about each, so that no more is looked at than the rarest has.
-- Returns the rows, the id to go on from (false: there are no more), and how many rows there are at most from `newest` on.

local STEP = 200 -- ids a read of the sets of a list
local LEAST = 20 -- of which each set gives so many, however many there are
local MOST_NAMES = 2000 -- names with a beginning, of which all are read to find the newest; of more, another list drives

local plan = cmsgpack.unpack(ARGV[1])
local newest, oldest, spent = plan.newest, plan.oldest, 0

local function excluded(list)
  return list[1]
end

local function counted(keys)
  local n = 0
  for _, key in ipairs(keys) do
    n = n + redis.call('ZLEXCOUNT', KEYS[key], oldest, newest)
  end
  return n
end

local function newer(a, b)
  return a > b
end

-- The ids of some sets together from `newest` on, and whether there are more.
local function ids_of_sets(keys)
  local step = math.max(LEAST, math.floor(STEP / math.max(#keys, 1)))
  local found, seen = {}, {}
  for _, key in ipairs(keys) do
    local page = redis.call('ZRANGE', KEYS[key], newest, oldest, 'BYLEX', 'REV', 'LIMIT', 0, step)
    spent = spent + 1 + #page / LEAST
    for _, id in ipairs(page) do
      if not seen[id] then
        seen[id] = true
        found[#found + 1] = id
      end
    end
  end
  if #keys > 1 then -- the first of each are among the first of all
    table.sort(found, newer)
    for i = #found, step + 1, -1 do
      found[i] = nil
    end
  end
  return found, #found == step
end

local function past(beginning)
  return '[' .. beginning .. '\255' -- names are ASCII, and what follows them begins with a digit or an f at most
end

-- The ids of the names with some beginnings: all of them, which must be few.
local function ids_of_names(beginnings)
  local found, seen = {}, {}
  for _, beginning in ipairs(beginnings) do
    for _, member in ipairs(redis.call('ZRANGE', KEYS[3], '[' .. beginning, past(beginning), 'BYLEX')) do
      local id = string.match(member, '[0-9a-f]+$')
      local is_older = newest == '+' or id < string.sub(newest, 2)
      local is_newer = oldest == '-' or id >= string.sub(oldest, 2)
      if is_older and is_newer and not seen[id] then
        seen[id] = true
        found[#found + 1] = id
      end
    end
  end
  table.sort(found, newer)
  return found, false
end

local at_most, driver, read_ids, of_driver = counted({2}), nil, ids_of_sets, {2}
for _, list in ipairs(plan.sets) do
  local n = excluded(list) and at_most or counted(list[2])
  if n < at_most then
    at_most, driver, of_driver = n, list, list[2]
  end
end
for _, list in ipairs(plan.names) do
  local n = excluded(list) and at_most or 0
  for _, beginning in ipairs(excluded(list) and {} or list[2]) do
    n = n + redis.call('ZLEXCOUNT', KEYS[3], '[' .. beginning, past(beginning))
  end
  if n < at_most and n <= MOST_NAMES then
    at_most, driver, read_ids, of_driver = n, list, ids_of_names, list[2]
  end
end

local function is_in_any(id, keys)
  for _, key in ipairs(keys) do
    spent = spent + 1
    if redis.call('ZSCORE', KEYS[key], id) then
      return true
    end
  end
  return false
end

local function begins_with_any(id, beginnings)
  spent = spent + 2
  local row = redis.call('HGET', KEYS[1], id) or ''
  for _, beginning in ipairs(beginnings) do
    if string.sub(row, 1, #beginning) == beginning then
      return true
    end
  end
  return false
end

local function holds(id)
  for _, list in ipairs(plan.sets) do
    if list ~= driver and is_in_any(id, list[2]) == excluded(list) then
      return false
    end
  end
  for _, list in ipairs(plan.names) do
    if list ~= driver and begins_with_any(id, list[2]) == excluded(list) then
      return false
    end
  end
  return true
end

local found = {}

local function answer(next)
  return {#found > 0 and redis.call('HMGET', KEYS[1], unpack(found)) or {}, next, at_most}
end

local ids, more
repeat
  ids, more = read_ids(of_driver)
  for _, id in ipairs(ids) do
    spent = spent + 1
    if holds(id) then
      found[#found + 1] = id
    end
    if #found == plan.limit or spent >= plan.budget then
      return answer(id)
    end
    newest = '(' .. id
  end
until not more
return answer(false)
