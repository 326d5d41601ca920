-- How often has a page been seen? The counts are in Redis, for all isolates and hosts.
-- The client is Debian's lua-nginx-redis as it is: atoll.lua asks for what it needs.
local atoll = require "atoll"
local redis = require "resty.redis"

local server = os.getenv "REDIS" or "127.0.0.1:6379"
local host, port = server:match "^(.+):(%d+)$"

-- Calls fn with a connection, which goes back to the pool when all is well with it.
local function with_redis(fn)
  local db <const> = redis:new()
  db:set_timeout(1000)
  local ok, problem = db:connect(host, port)
  if not ok then atoll.halt(503, "Redis does not answer: " .. problem .. "\n") end
  local result
  result, problem = fn(db)
  if not result then
    db:close()
    atoll.halt(503, "Redis: " .. problem .. "\n")
  end
  db:set_keepalive(10000, 100)
  return result
end

local app = atoll.app()

app:get("/", function()
  local pages = with_redis(function(db)
    return db:zrevrange("pages", 0, 9, "withscores")
  end)
  local list = {}
  for i = 1, #pages, 2 do
    list[#list + 1] = { page = pages[i], seen = tonumber(pages[i + 1]) }
  end
  return { pages = atoll.json.array(list) }
end)

app:get("/*page", function(req)
  local page = "/" .. req.params.page
  local seen = with_redis(function(db) return db:zincrby("pages", 1, page) end)
  return { page = page, seen = tonumber(seen) }
end)

return app
