-- Three mirrors are asked at once, and the first good answer is passed on: the others
-- are hung up on. MIRRORS in the environment names them; without it they are three
-- routes of this app, each of which takes its time.
local atoll = require "atoll"
local http = atoll.http

local own = "http://127.0.0.1:" .. (os.getenv "PORT" or 8080) .. "/mirrors/"
local names = os.getenv "MIRRORS" or own .. "a " .. own .. "b " .. own .. "c"
local mirrors = {}
for url in names:gmatch "%S+" do mirrors[#mirrors + 1] = url end

local function fetch(url)
  local res, problem = http.get(url, { timeout = 5 })
  if not res then return nil, url .. ": " .. problem end
  if res.status ~= 200 then return nil, url .. ": status " .. res.status end
  return res
end

local app = atoll.app()

app:get("/", function()
  local questions = {}
  for _, url in ipairs(mirrors) do
    questions[url] = function() return fetch(url) end
  end
  local res, which = atoll.any(questions)
  if not res then return 502, "No mirror answers; the last: " .. which .. "\n" end
  return res.body, nil, { ["X-Mirror"] = which }
end)

app:get("/mirrors/:name", function(req)
  atoll.sleep(math.random())
  return "Hello from mirror " .. req.params.name .. "\n"
end)

return app
