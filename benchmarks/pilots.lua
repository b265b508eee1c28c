-- One pilot for each of wrk's connections, with its own name and one request under way: a thread is PILOT_NAMES pilots
-- in turn. Where an answer decides on the next request (life), a thread is one pilot, and each of its connections a slot
-- of it: an answer does not say whose it is.
-- PILOT_TOKEN, PILOT_WORK: dispatch (a job for each call), crowd (each call is another pilot's, which no job fits),
-- life (dispatch, running, finished), farm (the same with so many jobs as PILOT_BULK in each call), beat (heartbeats),
-- PILOT_JOBS for beat: the first job; pilot n has the job first + n.
local pilots = 0
function setup(thread)
   thread:set("number", pilots)
   pilots = pilots + 1
end

local work, names, name, count, job
local head = {["Content-Type"] = "application/json"}
local format, match = string.format, string.match
local outputs, due, first, last = {}, {}, 1, 0

function init(args)
   work = os.getenv("PILOT_WORK") or "dispatch"
   head["Authorization"] = "Bearer " .. (os.getenv("PILOT_TOKEN") or "none")
   names = (work == "life" or work == "farm") and 1 or tonumber(os.getenv("PILOT_NAMES") or "1")
   count = 0
   be(number * names)
end

-- Which pilot asks next.
function be(pilot)
   name = format("pilot-%s-%05d", os.getenv("PILOT_RUN") or "x", pilot)
   job = work == "beat" and tonumber(os.getenv("PILOT_JOBS")) + pilot
end

local sent = '{"job":%s,"state":"running","log_offset":0,"log":"","exit_code":null,"error":"","outputs":[],"metrics":{}}'
local ended = '{"job":%s,"state":"finished","log_offset":0,"log":"","exit_code":0,"error":"",' ..
   '"outputs":[{"lfn":"%s","guid":"%08x-0000-4000-8000-%012x","bytes":1000000,"adler32":"%08x","events":1000}],' ..
   '"metrics":{"cpu_s":3000.5,"wall_s":3100.25,"max_rss_mb":1800}}'
local ask = '{"pilot":"%s","request":"%s-%d","host":"node-%d","cores":%d,"memory_mb":%d,"remaining_s":%d,' ..
   '"wait_s":0,"disk_mb":20000,"gpus":0,"architecture":"x86_64","software":["Athena/24.*"],"jobs":%d}'
local news = '{"pilot":"%s","updates":[' .. sent .. "]}"
local result = '{"pilot":"%s","updates":[' .. ended .. "]}"

local function post(what, ...)
   return wrk.format("POST", "/api/pilot/" .. what, head, format(...))
end

-- A farm's next call: for jobs, or about all that it got, which run and then are over.
local step, got = "acquire", {}
local after = {acquire = "running", running = "finished", finished = "acquire"}
local function bulk()
   if step == "acquire" then
      local jobs = tonumber(os.getenv("PILOT_BULK"))
      return post("acquire", ask, name, name, count, number, 1000000, 100000000, 86400, jobs)
   end
   local text = {}
   for place, job in ipairs(got) do
      local id, lfn = job[1], job[2]
      text[place] = step == "running" and format(sent, id) or format(ended, id, lfn, number, id, id % 4294967295)
   end
   return post("updates", '[{"pilot":"%s","updates":[%s]}]', name, table.concat(text, ","))
end

local function farmed(body)
   if step == "acquire" then
      got = {}
      for id, lfn in string.gmatch(body, '"job": ?(%d+).-"outputs": ?%[{[^}]*"lfn": ?"([^"]+)"') do
         got[#got + 1] = {id, lfn}
      end
   end
   if #got > 0 then step = after[step] end
end

function request()
   count = count + 1
   local pilot = number * names + count % names
   if names > 1 then be(pilot) end
   if work == "beat" then return post("update", news, name, job) end
   if work == "crowd" then
      local other = format("%s-%d", name, count)
      return post("acquire", ask, other, other, 1, number, 0, 1, 1, 1)
   end
   if work == "farm" then return bulk() end
   if first > last then
      return post("acquire", ask, name, name, count, pilot, 4 + pilot % 5, 16000 + pilot % 3 * 1000, 86400 - count % 900, 1)
   end
   local id, lfn = unpack(due[first])
   due[first], first = nil, first + 1
   if not lfn then return post("update", news, name, id) end
   return post("update", result, name, id, lfn, number, id, id % 4294967295)
end

-- What an answer makes due: a job is run, and then over, with the output that its spec names.
local function live(body)
   local id = match(body, '"job": ?(%d+)')
   local lfn = outputs[id]
   if not lfn then outputs[id] = match(body, '"outputs": ?%[{[^}]*"lfn": ?"([^"]+)"') end
   if not outputs[id] then return end  -- it is over
   last = last + 1
   due[last] = {id, lfn}
   if lfn then outputs[id] = nil end
end

given, refused, strange = 0, 0, 0
if (os.getenv("PILOT_WORK") or "dispatch") ~= "beat" then
   function response(status, headers, body)
      if status ~= 200 then
         refused = refused + 1
         local later = headers["retry-after"] or headers["Retry-After"]
         if (status ~= 503 and status ~= 429) or not later then strange = strange + 1 end
         return
      end
      if work == "farm" then return farmed(body) end
      if not match(body, '"job":') then return end
      if match(body, '"jobs":') then given = given + 1 end
      if work == "life" then live(body) end
   end
end

local threads = {}
local keep = setup
function setup(thread)
   keep(thread)
   table.insert(threads, thread)
end

function done(summary, latency, requests)
   local sums = {given = 0, refused = 0, strange = 0}
   for _, thread in ipairs(threads) do
      for key, value in pairs(sums) do sums[key] = value + thread:get(key) end
   end
   io.write(format('{"given": %d, "refused": %d, "strange": %d, ', sums.given, sums.refused, sums.strange))
   io.write(format('"requests": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f, "errors": %d}\n',
      summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
      summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout))
end
