-- Shared by the scripts of the two duties that one worker has for all: to load (state loading) and to seal (state
-- sealing, and while the run is open where its results go to a destination). The holder is in `duty` with a token of
-- its own; a token that is not current stops the script.

local function duty_of(run)
  if run.state == 'loading' then
    return 'load'
  end
  local seals = run.state == 'sealing' or (run.state == 'open' and run.destination)
  return seals and 'seal' or nil
end

local function hold(run, kind, token, worker)
  redis.call('HSET', KEY.duty, 'kind', kind, 'token', token, 'worker', worker, 'deadline', now_ms() + run.lease_ms)
end

local function check_duty(kind, token)
  local f = redis.call('HMGET', KEY.duty, 'kind', 'token', 'worker')
  if f[1] ~= kind or f[2] ~= token then
    stop('LEASELOST', 'another worker has the duty to ' .. kind .. ' now')
  end
  return f[3]
end

local function renew_duty(run, kind, token)
  hold(run, kind, token, check_duty(kind, token))
end
