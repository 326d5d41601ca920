-- A guestbook: GET / is the page and POST / takes its form; GET /entries, POST /entries
-- and GET /entries/:id are JSON, for programs.
local atoll = require "atoll"
local csrf = require "atoll.csrf"
local entries = require "entries"
local page = require "page"
local session = require "atoll.session"

local app = atoll.app()

-- Who signs is remembered until the host ends, and no other site can sign for him. What
-- programs send has no part in that: there no cookie counts.
app:use(session { store = "shared" })
app:use(csrf { exempt = "/entries" })

-- What a page of ours may do in a browser, whoever wrote into it.
local page_headers = {
  ["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; "
    .. "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  ["X-Content-Type-Options"] = "nosniff",
  ["Cache-Control"] = "no-store", -- it is for one visitor
}

local function sends_json(req)
  local sent = (req.headers["content-type"] or ""):lower()
  return sent:match("^%s*([^;%s]*)") == "application/json"
end

-- The page, with what was sent and what is wrong with it, if anything is.
local function show(req, status, input, problems)
  local html = page.render(entries.latest(), {
    input = input or { name = req.session.name }, problems = problems,
    note = session.of(req):flash "note", token = csrf.field(req),
  })
  return atoll.html(html, status, page_headers)
end

app:get("/", function(req) return show(req, 200) end)

app:post("/", function(req)
  local input = req:form()
  local entry, problems = entries.check(input)
  if not entry then return show(req, 422, input, problems) end
  assert(entries.add(entry))
  req.session.name = entry.name
  session.of(req):flash("note", "Thank you.")
  return atoll.redirect("/", 303)
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
  if not sends_json(req) then return 415, { error = "an entry is JSON" } end
  local entry, problems = entries.check(req:json())
  if not entry then return 422, { errors = problems } end
  assert(entries.add(entry))
  return 201, entry, { Location = "/entries/" .. entry.id }
end)

app:on("not_found", function(req)
  return 404, "There is nothing at " .. req.path .. "\n"
end)

return app
