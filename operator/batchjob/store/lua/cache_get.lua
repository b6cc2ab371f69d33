-- A value whose time is not over, by the server's clock. KEYS: entries, due. ARGV: key.

local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
if tonumber(redis.call('ZSCORE', KEYS[2], ARGV[1]) or 0) > now then
  return redis.call('HGET', KEYS[1], ARGV[1])
end
