-- A guestbook: GET / is the page, POST /entries takes its form or JSON, GET /entries
-- and GET /entries/:id are JSON.
local atoll = require "atoll"
local entries = require "entries"
local page = require "page"

local app = atoll.app()

-- What a page of ours may do in a browser, whoever wrote into it.
local page_headers = {
  ["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; "
    .. "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  ["X-Content-Type-Options"] = "nosniff",
}

local function wants_json(req)
  local sent = (req.headers["content-type"] or ""):lower()
  return sent:match("^%s*([^;%s]*)") == "application/json"
end

app:get("/", function()
  return atoll.html(page.render(entries.latest()), 200, page_headers)
end)

app:get("/entries", function()
  return { entries = atoll.json.array(entries.latest()) }
end)

app:get("/entries/:id", function(req)
  local entry = entries.find(req.params.id)
  if not entry then return 404, { error = "there is no such entry" } end
  return entry
end)

app:post("/entries", function(req)
  local as_json = wants_json(req)
  local input
  if as_json then input = req:json() else input = req:form() end
  local entry, problems = entries.check(input)
  if not entry then
    if as_json then return 422, { errors = problems } end
    local html = page.render(entries.latest(), input, problems)
    return atoll.html(html, 422, page_headers)
  end
  assert(entries.add(entry))
  if as_json then return 201, entry, { Location = "/entries/" .. entry.id } end
  return atoll.redirect("/", 303)
end)

app:on("not_found", function(req)
  return 404, "There is nothing at " .. req.path .. "\n"
end)

return app
