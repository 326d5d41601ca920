-- A picture that takes a while, drawn by a pool of isolates in bands while a page shows
-- how far it is: atoll serve apps/fractal
local atoll = require "atoll"
local app = atoll.app()

local WIDTH, HEIGHT, BAND = 480, 320, 8

local pool = atoll.pool { module = "mandelbrot", size = 2, timeout = 60 }

-- Server-sent events: "band" with the first row and the pixels of each, "progress" in
-- per cent, and "done".
app:events("/picture", function(send, req)
  local zoom = tonumber(req.query.zoom) or 1
  local port = atoll.port()
  local tasks = {}
  for top = 0, HEIGHT - 1, BAND do
    tasks[#tasks + 1] = atoll.spawn(function()
      local pixels, message = pool:call("band", port:sender(), zoom, WIDTH, HEIGHT, top,
        BAND)
      port:sender():send { top = top, pixels = pixels, message = message }
    end):quiet()
  end
  local rows, bands = 0, 0
  local _ <close> = setmetatable({}, { __close = function()
    for _, task in ipairs(tasks) do task:cancel() end -- the client may have left
  end })
  for news in port:messages() do
    if news == "row" then
      rows = rows + 1
      send { event = "progress", data = ("%d"):format(rows * 100 // HEIGHT) }
    elseif not news.pixels then
      send { event = "failed", data = news.message }
      break
    else
      bands = bands + 1
      if not send { event = "band", data = news } then break end
      if bands == #tasks then break end
    end
  end
  send { event = "done", data = "" }
end)

app:get("/status", function() return pool:status() end)
app:static("/", "public")

return app
