-- Decides a group of calls in order, each against the windows of all its limits: it is counted in all of them or in
-- none. A run of calls is counted as a whole or not at all. The arithmetic is that of limits/window.ts; the contract
-- suite runs against both.
--
--   KEYS    the keys of the first call's limits, then of the second's, and so on. A group's keys are in one slot.
--   ARGV    the time in ms ('' = this server's clock; only tests pass a time), then the terms of each call as decimal
--           numbers: its cost, then for each limit its figures per minute and per day (-1 = none). A negative cost is
--           that of a call that has happened: it is counted also beyond the figures. A "+" at the end: the next call
--           is of the same run
--   Answer  one string of little-endian int32. For each call: 1 (allowed) or 0, then the wait in ms (-1 = no wait
--           helps). Then for each limit, the minute before the day: what remains (-1 = no figure), then the ms until
--           the window is empty
--
-- The terms of a call are one argument, and all answers are one string: Redis takes as long to pass three numbers in or
-- out as to read a key.
--
-- One key holds both windows of one limit, as one string:
--   head    ten doubles: the total of the minute, the total of the day, then for the minute and for the day
--             oldest  number of the first bucket in the window; bucket n lasts from n * width to (n + 1) * width
--             newest  number of the last bucket
--             closed  sum of the buckets before the newest; the rest of the total is in the newest
--             length  bytes of the window's queue
--   queues  the minute's, then the day's: buckets before the newest as pairs of doubles (number, count), oldest first
--
-- Most calls fall into the same buckets as the call before. They only read the head and write the two totals, even if
-- the windows are full.
local MINUTE_WIDTH, DAY_WIDTH = 1000, 1440000
local BUCKETS_BEFORE = 60
local MAX_TOTAL = 2 ^ 52 -- a window holds no more: sums up to it are exact
local KEEP_MS = '89280000' -- a day and two of its buckets: both windows are empty before that
local HEAD, TOTALS, BUCKET, NUMBER = '<dddddddddd', '<dd', '<dd', '<d'
local VERDICT, STATUS, VERDICT_AND_STATUS = '<i4i4', '<i4i4i4i4', '<i4i4i4i4i4i4'
local LAST_OF_HEAD, FIRST_OF_QUEUES = '79', '80'

local call, abs, floor, max, min, sub = redis.call, math.abs, math.floor, math.max, math.min, string.sub
local pack, unpack = struct.pack, struct.unpack

local now = tonumber(ARGV[1])
if not now then
  local time = call('TIME')
  now = time[1] * 1000 + floor(time[2] / 1000)
end

local answer = {}

local function say(...)
  answer[#answer + 1] = pack(...)
end

-- Many calls of a group have the same terms, so each text is parsed once.
local terms_of = setmetatable({}, {
  __index = function(known, text)
    local terms = { goes_on = sub(text, -1) == '+' }
    for figure in string.gmatch(text, '%S+') do terms[#terms + 1] = tonumber(figure) end
    known[text] = terms
    return terms
  end,
})

local function read_limit(key)
  local minute = { width = MINUTE_WIDTH, total = 0, oldest = 0, newest = 0, closed = 0, length = 0 }
  local day = { width = DAY_WIDTH, total = 0, oldest = 0, newest = 0, closed = 0, length = 0 }
  local head = call('GETRANGE', key, '0', LAST_OF_HEAD)
  if head ~= '' then
    minute.total, day.total,
      minute.oldest, minute.newest, minute.closed, minute.length,
      day.oldest, day.newest, day.closed, day.length = unpack(HEAD, head)
  end
  return { key = key, exists = head ~= '', minute = minute, day = day }
end

-- Reads the queues of both windows. `length` keeps the value that was read, because it says where the queues are
-- divided.
local function read_queues(limit)
  local minute, day = limit.minute, limit.day
  if minute.queue then return end
  local both = minute.length + day.length > 0 and call('GETRANGE', limit.key, FIRST_OF_QUEUES, '-1') or ''
  minute.queue, day.queue = sub(both, 1, minute.length), sub(both, minute.length + 1)
end

-- Moves counts of a later time into the current bucket, because the clock stepped back.
local function gather_later(limit, window, current)
  read_queues(limit)
  local at, closed = 1, 0
  while at < #window.queue do
    local number, count, after = unpack(BUCKET, window.queue, at)
    if number >= current then break end
    at, closed = after, closed + count
  end
  if at == 1 then window.oldest = current end
  window.queue, window.closed, window.newest = sub(window.queue, 1, at - 1), closed, current
  limit.reshaped = true
end

local function drop_all(limit, window, current)
  read_queues(limit)
  window.queue, window.total, window.closed = '', 0, 0
  window.oldest, window.newest = current, current
  limit.reshaped = true
end

local function drop_earlier(limit, window, oldest)
  read_queues(limit)
  local queue, at = window.queue, 1
  while window.oldest < oldest do
    local _, count, after = unpack(BUCKET, queue, at)
    window.total, window.closed, at = window.total - count, window.closed - count, after
    window.oldest = at < #queue and unpack(NUMBER, queue, at) or window.newest
  end
  window.queue = sub(queue, at)
  limit.reshaped = true
end

local function slide(limit, window)
  local current = floor(now / window.width)
  if window.newest > current then gather_later(limit, window, current) end
  local oldest = current - BUCKETS_BEFORE
  if window.newest < oldest then
    drop_all(limit, window, current)
  elseif window.oldest < oldest then
    drop_earlier(limit, window, oldest)
  end
end

local function until_gone(number, window)
  return (number + BUCKETS_BEFORE + 1) * window.width - now
end

-- The ms until at least `excess` has left the window.
local function until_slid_out(limit, window, excess)
  read_queues(limit)
  local at = 1
  while at < #window.queue do
    local number, count, after = unpack(BUCKET, window.queue, at)
    excess, at = excess - count, after
    if excess <= 0 then return until_gone(number, window) end
  end
  return until_gone(window.newest, window)
end

-- The ms until the cost fits under the figure; -1 = no wait helps.
local function until_room(limit, window, cost, figure)
  if cost == 0 or figure < 0 then return 0 end
  if cost > figure then return -1 end
  local excess = window.total + cost - figure
  return excess > 0 and until_slid_out(limit, window, excess) or 0
end

local function count(limit, window, wanted)
  local cost = min(wanted, MAX_TOTAL - window.total)
  if cost <= 0 then return end
  local current = floor(now / window.width)
  if window.newest < current then
    read_queues(limit)
    local open = window.total - window.closed
    if open > 0 then
      window.queue = window.queue .. pack(BUCKET, window.newest, open)
    elseif window.queue == '' then
      window.oldest = current
    end
    window.newest, window.closed = current, window.total
    limit.reshaped = true
  end
  window.total = window.total + cost
end

local function write(limit)
  local minute, day = limit.minute, limit.day
  if not limit.reshaped then
    call('SETRANGE', limit.key, '0', pack(TOTALS, minute.total, day.total))
    return
  end
  read_queues(limit)
  local head = pack(HEAD, minute.total, day.total,
    minute.oldest, minute.newest, minute.closed, #minute.queue,
    day.oldest, day.newest, day.closed, #day.queue)
  call('SET', limit.key, head .. minute.queue .. day.queue, 'PX', KEEP_MS)
end

local function status_of(window, figure)
  local remaining = figure < 0 and -1 or max(0, figure - window.total)
  return remaining, window.total > 0 and until_gone(window.newest, window) or 0
end

-- A limit whose buckets changed is written even if nothing is counted. Otherwise later counts would be gathered again
-- into a later bucket. Counts that had left the window would come back if the clock stepped back.
local function finish(limit, counts, cost)
  if counts then
    count(limit, limit.minute, cost)
    count(limit, limit.day, cost)
  end
  if counts or limit.exists and limit.reshaped then write(limit) end
end

-- Judges a call of a run. `run.limits` are the limits that the run has read, and `pending` of a limit is what the
-- calls before would count there.
local function judge(run, first_key, terms)
  local cost, states, wait = abs(terms[1]), {}, 0
  local needed = max(0, terms[1])
  for i = 1, (#terms - 1) / 2 do
    local key = KEYS[first_key + i - 1]
    local limit = run.limits[key]
    if not limit then
      limit = read_limit(key)
      slide(limit, limit.minute)
      slide(limit, limit.day)
      limit.pending, run.limits[key] = 0, limit
    end
    local wanted = needed > 0 and needed + limit.pending or 0
    local minute = until_room(limit, limit.minute, wanted, terms[2 * i])
    local day = until_room(limit, limit.day, wanted, terms[2 * i + 1])
    if minute < 0 or day < 0 or wait < 0 then wait = -1 else wait = max(wait, minute, day) end
    states[i] = limit
  end
  if wait == 0 then
    for _, limit in ipairs(states) do limit.pending = limit.pending + cost end
  else
    run.allowed = false
  end
  run[#run + 1] = { cost = cost, states = states, wait = wait, terms = terms }
end

local function settle(run)
  for _, one in ipairs(run) do
    local allowed, cost = run.allowed, one.cost
    say(VERDICT, one.wait == 0 and 1 or 0, one.wait)
    for i, limit in ipairs(one.states) do
      finish(limit, allowed and cost > 0, cost)
      local remaining, empty = status_of(limit.minute, one.terms[2 * i])
      say(STATUS, remaining, empty, status_of(limit.day, one.terms[2 * i + 1]))
    end
  end
end

-- A faster way for a call with one limit that fits and falls into the newest buckets, so that no bucket leaves a
-- window. Returns false if it did nothing, also for a call that has happened.
local function decide_in_newest(key, terms)
  local cost, per_minute, per_day = terms[1], terms[2], terms[3]
  if cost <= 0 or #terms > 3 then return false end
  local head = call('GETRANGE', key, '0', LAST_OF_HEAD)
  if head == '' then return false end
  local minute_total, day_total, _, minute_newest, _, _, _, day_newest = unpack(HEAD, head)
  local in_minute, in_day = now - minute_newest * MINUTE_WIDTH, now - day_newest * DAY_WIDTH
  if in_minute < 0 or in_minute >= MINUTE_WIDTH or in_day < 0 or in_day >= DAY_WIDTH then return false end
  minute_total, day_total = minute_total + cost, day_total + cost
  if (per_minute >= 0 and minute_total > per_minute) or (per_day >= 0 and day_total > per_day) then return false end
  call('SETRANGE', key, '0', pack(TOTALS, minute_total, day_total))
  say(VERDICT_AND_STATUS, 1, 0,
    per_minute < 0 and -1 or per_minute - minute_total, (BUCKETS_BEFORE + 1) * MINUTE_WIDTH - in_minute,
    per_day < 0 and -1 or per_day - day_total, (BUCKETS_BEFORE + 1) * DAY_WIDTH - in_day)
  return true
end

local key, run = 1, nil
for i = 2, #ARGV do
  local terms = terms_of[ARGV[i]]
  if run or terms.goes_on or not decide_in_newest(KEYS[key], terms) then
    run = run or { allowed = true, limits = {} }
    judge(run, key, terms)
    if not terms.goes_on then
      settle(run)
      run = nil
    end
  end
  key = key + (#terms - 1) / 2
end
return table.concat(answer)
