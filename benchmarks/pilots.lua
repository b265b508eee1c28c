-- One pilot for each of wrk's connections, with its own name and one request under way. Where an answer decides on the
-- next request (life), each is a thread (-t and -c are equal); else a thread is PILOT_NAMES pilots in turn.
-- PILOT_TOKEN, PILOT_WORK: dispatch (a job for each call), crowd (each call is another pilot's, which no job fits),
-- life (dispatch, running, finished), beat (heartbeats),
-- PILOT_JOBS for beat: the first job; pilot n has the job first + n.
local pilots = 0
function setup(thread)
   thread:set("number", pilots)
   pilots = pilots + 1
end

local work, names, name, count, stage, job, lfn
local head = {["Content-Type"] = "application/json"}
local format = string.format

function init(args)
   work = os.getenv("PILOT_WORK") or "dispatch"
   head["Authorization"] = "Bearer " .. (os.getenv("PILOT_TOKEN") or "none")
   names = tonumber(os.getenv("PILOT_NAMES") or "1")
   count, stage = 0, work == "beat" and "beat" or "acquire"
   be(number * names)
end

-- Which pilot asks next.
function be(pilot)
   name = format("pilot-%s-%05d", os.getenv("PILOT_RUN") or "x", pilot)
   job = work == "beat" and tonumber(os.getenv("PILOT_JOBS")) + pilot
end

local ask = '{"pilot":"%s","request":"%s-%d","host":"node-%d","cores":%d,"memory_mb":%d,"remaining_s":%d,' ..
   '"wait_s":0,"disk_mb":20000,"gpus":0,"architecture":"x86_64","software":["Athena/24.*"],"jobs":1}'
local news = '{"pilot":"%s","updates":[{"job":%s,"state":"running","log_offset":0,"log":"","exit_code":null,' ..
   '"error":"","outputs":[],"metrics":{}}]}'
local result = '{"pilot":"%s","updates":[{"job":%s,"state":"finished","log_offset":0,"log":"","exit_code":0,"error":"",' ..
   '"outputs":[{"lfn":"%s","guid":"%08x-0000-4000-8000-%012x","bytes":1000000,"adler32":"%08x","events":1000}],' ..
   '"metrics":{"cpu_s":3000.5,"wall_s":3100.25,"max_rss_mb":1800}}]}'

function request()
   count = count + 1
   local pilot = number * names + count % names
   if names > 1 then be(pilot) end
   if stage == "acquire" then
      if work == "crowd" then
         local other = format("%s-%d", name, count)
         return wrk.format("POST", "/api/pilot/acquire", head, format(ask, other, other, 1, number, 0, 1, 1))
      end
      local body = format(ask, name, name, count, pilot, 4 + pilot % 5, 16000 + pilot % 3 * 1000, 86400 - count % 900)
      return wrk.format("POST", "/api/pilot/acquire", head, body)
   elseif stage == "finish" then
      local id = tonumber(job)
      return wrk.format("POST", "/api/pilot/update", head, format(result, name, job, lfn, number, id, id % 4294967295))
   end
   return wrk.format("POST", "/api/pilot/update", head, format(news, name, job))
end

given, refused, strange = 0, 0, 0
if (os.getenv("PILOT_WORK") or "dispatch") ~= "beat" then
   function response(status, headers, body)
      if status ~= 200 then
         refused, stage = refused + 1, "acquire"
         local later = headers["retry-after"] or headers["Retry-After"]
         if (status ~= 503 and status ~= 429) or not later then strange = strange + 1 end
         return
      end
      if stage == "acquire" then
         job = string.match(body, '"job": ?(%d+)')
         if not job then return end
         given = given + 1
         if work == "life" then
            lfn = string.match(body, '"outputs": ?%[{[^}]*"lfn": ?"([^"]+)"')
            stage = "run"
         end
      elseif stage == "run" then
         stage = "finish"
      else
         stage = "acquire"
      end
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
