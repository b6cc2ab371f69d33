-- Keep a BatchJob in the index as its row is now. KEYS: rows, all, names, counts; those of its facets and of its owner
-- are made from them, in the same slot. ARGV: prefix of the keys, id, row (`` where it is gone). Returns whether that
-- was news. Above this stands a line made from rows.py: `local FACETS`, the kinds of the first fields of a row.

local rows, all, names, counts = unpack(KEYS)
local prefix, id, row = unpack(ARGV)
local old = redis.call('HGET', rows, id) or ''
if old == row then
  return 0
end

-- What a row is kept by: `sets` (by key) and `tallies` (a key and a field each); both empty where there is no row.
local function read(text)
  local sets, tallies, ends = {}, {}, string.find(text, '\0', 1, true)
  if not ends then
    return sets, tallies
  end
  local fields, of = cmsgpack.unpack(string.sub(text, ends + 1)), {}
  for i, facet in ipairs(FACETS) do
    of[facet] = type(fields[i]) == 'table' and fields[i] or {fields[i]}
    for _, value in ipairs(of[facet]) do
      if value ~= '' then
        sets[prefix .. 'by:' .. facet .. ':' .. value] = id
      end
    end
  end
  sets[all] = id
  sets[names] = string.sub(text, 1, ends) .. id
  local field = of.queue[1] .. ' ' .. of.phase[1]
  tallies[counts] = field
  if of.owner[1] then
    tallies[counts .. ':' .. of.owner[1]] = field
  end
  return sets, tallies
end

local old_sets, old_tallies = read(old)
local new_sets, new_tallies = read(row)

-- What needs memory goes first: a store that is full refuses that before anything has changed. Counting down needs it too.
if row ~= '' then
  redis.call('HSET', rows, id, row)
end
for key, member in pairs(new_sets) do
  if not old_sets[key] then
    redis.call('ZADD', key, 0, member)
  end
end
for key, field in pairs(new_tallies) do
  redis.call('HINCRBY', key, field, 1)
end

for key, field in pairs(old_tallies) do
  if redis.call('HINCRBY', key, field, -1) <= 0 then
    redis.call('HDEL', key, field)
  end
end
for key, member in pairs(old_sets) do
  if not new_sets[key] then
    redis.call('ZREM', key, member)
  end
end
if row == '' then
  redis.call('HDEL', rows, id)
end
return 1
