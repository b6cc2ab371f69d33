-- Let values go until a cache has no more than its share; the operator's. ARGV: that share in bytes. Returns 1 while it
-- has more. Where more is counted than is there, all of it goes.

local CLEAR_UP = 1000 -- values a call: some milliseconds, in which nobody else is served
local share = tonumber(ARGV[1])

if not make_room(share, CLEAR_UP) then
  redis.call('UNLINK', unpack(KEYS))
  return 0
end
if redis.call('EXISTS', KEYS[3]) == 1 then
  redis.call('HSET', KEYS[3], 'bytes', bytes)
end
return bytes > share and 1 or 0
