"""The store's scripts: each decides and writes in one step, on one key (a cluster allows no more).

Those that answer `replaced`, `stale` or `gone` mean what `store.Write` says; those of the indexes answer with
members.
"""

CREATE = """
if redis.call('EXISTS', KEYS[1]) == 1 then
  if redis.call('HGET', KEYS[1], 'tokens') == ARGV[2] then return 'replaced' end
  return 'stale'
end
redis.call('HSET', KEYS[1], 'tokens', ARGV[2], unpack(ARGV, 3))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
local again = {}
for i = 1, 16 do again[i] = 'version' end
redis.call('HMGET', KEYS[1], unpack(again))
return 'replaced'
"""
"""Its look-ups at the end spare memory.

A hash that grows moves its fields to a larger table bit by bit, one bit with each access. Until it is read
often enough it keeps both tables: 64 bytes for each session, or none, by a number that Redis draws when it
starts.
"""

REPLACE = """
local now = redis.call('HMGET', KEYS[1], 'version', 'tokens', 'seen')
if not now[1] then return 'gone' end
if now[2] == ARGV[2] then return 'replaced' end
if now[1] ~= ARGV[1] then return 'stale' end
redis.call('HDEL', KEYS[1], 'refreshing', 'exchanged')
redis.call('HSET', KEYS[1], 'tokens', ARGV[2], unpack(ARGV, 6))
local seen, left = tonumber(now[3]), tonumber(ARGV[5])
if seen then left = math.min(left, math.floor(seen) * 1000 + left - tonumber(ARGV[4])) end
left = math.max(1, math.min(left, tonumber(ARGV[3])))
local before = redis.call('PTTL', KEYS[1])
redis.call('PEXPIRE', KEYS[1], left)
return {before, left}
"""
"""Sets the TTL to the rest of the idle time since the `seen` that stands there, `ends` at most.

It answers with the TTL before and after where it wrote.
Its `seen` stays: it may have been noted after the session was read that is saved here.
"""

MARK = """
local now = redis.call('HMGET', KEYS[1], 'version', 'refreshing')
if not now[1] then return 'gone' end
if now[1] ~= ARGV[1] or (ARGV[3] and (now[2] or '') ~= ARGV[3]) then return 'stale' end
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[1], 'refreshing')
else
  redis.call('HSET', KEYS[1], 'refreshing', ARGV[2])
end
return 'replaced'
"""

EXCHANGED = """
local now = redis.call('HMGET', KEYS[1], 'version', 'exchanged')
if not now[1] then return 'gone' end
if now[1] ~= ARGV[1] or (now[2] or '') ~= ARGV[3] then return 'stale' end
redis.call('HSET', KEYS[1], 'exchanged', ARGV[2])
return 'replaced'
"""

BIND = """
local now = redis.call('HMGET', KEYS[1], 'version', 'device')
if not now[1] then return 'gone' end
if now[2] and now[2] ~= ARGV[1] then return 'stale' end
redis.call('HSET', KEYS[1], 'device', ARGV[1])
return 'replaced'
"""

DELETE = """
local now = redis.call('HMGET', KEYS[1], 'version', 'exchanged')
if now[1] ~= ARGV[1] or (ARGV[2] and (now[2] or '') ~= ARGV[2]) then return 0 end
return redis.call('DEL', KEYS[1])
"""

TOUCH = """
local ends, left = redis.call('HGET', KEYS[1], 'ends'), tonumber(ARGV[3])
if not ends and redis.call('EXISTS', KEYS[1]) == 0 then return 'gone' end
redis.call('HSET', KEYS[1], 'seen', ARGV[1])
if tonumber(ends) then left = math.min(left, math.floor(tonumber(ends) * 1000 - tonumber(ARGV[2]))) end
left = math.max(1, left)
redis.call('PEXPIRE', KEYS[1], left)
return left
"""
"""Sets the TTL to the idle timeout, `ends` at most: a save may have moved it since the session was read.

It answers with that TTL.
"""

PROLONG = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""

INHERIT = """
local now = redis.call('GET', KEYS[1])
for i = 3, #ARGV do
  if now == ARGV[i] then
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
    return 1
  end
end
return 0
"""

RELEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""

LEAD = """
local now = redis.call('GET', KEYS[1])
if now and now ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

OF_LOCKS = (PROLONG, RELEASE, INHERIT)

INDEX_USER = """
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'zset' and kind ~= 'none' then redis.call('DEL', KEYS[1]) end
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[3])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[4]) then redis.call('PEXPIRE', KEYS[1], ARGV[4]) end
if tonumber(ARGV[5]) > 0 then return redis.call('ZRANDMEMBER', KEYS[1], ARGV[5]) end
return {}
"""
"""Adds a session, drops those whose end has come, and answers with a random sample of at most so many."""

INDEX_SID = """
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'set' and kind ~= 'none' then redis.call('DEL', KEYS[1]) end
redis.call('SADD', KEYS[1], ARGV[1])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
if tonumber(ARGV[3]) > 0 then return redis.call('SRANDMEMBER', KEYS[1], ARGV[3]) end
return {}
"""

TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, slack = tonumber(ARGV[1]), tonumber(ARGV[2])
local whole = tonumber(redis.pcall('GET', KEYS[1])) or now
if whole ~= whole then whole = now end
whole = math.min(math.max(whole, now), now + interval + slack)
if whole - now > slack then return whole - now - slack end
whole = whole + interval
redis.call('SET', KEYS[1], string.format('%.0f', whole), 'PX', math.ceil((whole - now) / 1000))
return 0
"""
"""Takes one act from a quota, if there is one: 0, or the microseconds until there is (GCRA).

It keeps when the quota will be whole again; a time further ahead than can be was not written by us, or
by a clock that has gone back since, or under other settings.
"""
