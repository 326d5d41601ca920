-- Files for whoever can reach this page: GET /dir/ lists a directory, GET /dir/name is
-- a file, POST /dir/ takes uploads, a new folder, or what is to be deleted.
local atoll = require "atoll"
local store = require "store"

local app = atoll.app()

local page_headers = {
  ["Content-Security-Policy"] = "default-src 'none'; style-src 'self'; img-src 'self'; "
    .. "script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    .. "frame-ancestors 'none'",
  ["Cache-Control"] = "no-store",
  ["X-Content-Type-Options"] = "nosniff",
}

-- Pages of other sites may link here, and no more. Without TLS a browser does not say
-- what Sec-Fetch-Site would, only its Origin.
local function is_own(req)
  local from, origin = req.headers["sec-fetch-site"], req.headers.origin
  if from then return from == "same-origin" or from == "none" end
  local own = (req.host or ""):lower()
  return not origin or origin:lower():match("^https?://(.*)$") == own
end

app:use(function(req, next)
  if req.method == "POST" and not is_own(req) then
    return 403, "this page takes nothing from other sites\n"
  end
  return next(req)
end)

app:static("/-", "assets", { cache = 3600 })

app:get("/*path", function(req)
  local path = store.check(req.params.path)
  local entries = store.list(path, req.query.sort)
  if not entries then
    local options = { root = store.root, name = store.download_name(path) }
    return atoll.file(path, options), nil, { ["X-Content-Type-Options"] = "nosniff" }
  end
  if req.path:sub(-1) ~= "/" then return atoll.redirect(store.url(path, true), 301) end
  return atoll.render("list", { path = path, entries = entries, store = store,
    sort = req.query.sort or "name" }, 200, page_headers)
end)

app:post("/*path", function(req)
  local path = store.check(req.params.path)
  local saved = {}
  if req.query.delete then
    store.delete(path, req.query.delete)
  elseif req.query.folder then
    store.new_folder(path, (req:form()).name or "")
  else
    for part in req:parts() do
      if part.filename then saved[#saved + 1] = store.save(path, part) end
    end
  end
  if (req.headers.accept or ""):find("application/json", 1, true) then
    return 201, { saved = atoll.json.array(saved) }
  end
  return atoll.redirect(store.url(path, true), 303)
end)

return app
