-- Pages in Debian's chromium, without a screen, told what to do over the DevTools
-- protocol by our own WebSocket client.
--
-- browser.open(url) is a page that has loaded; page:eval("document.title") gives what
-- an expression of JavaScript does (a promise is waited for), page:wait until one is.
-- An exception in the page that nobody caught fails the next call. browser.finish() for
-- after_each closes the pages, and browser.stop() for teardown the program.
local atoll = require "atoll"
local uv = require "luv"

local M = {}

local SECONDS = 120

-- ---- the program ----

local running

local function find()
  for _, name in ipairs { "chromium", "chromium-browser", "google-chrome" } do
    for dir in (os.getenv "PATH" or ""):gmatch "[^:]+" do
      if atoll.fs.exists(dir .. "/" .. name) then return dir .. "/" .. name end
    end
  end
end

-- The path of the program, or nil: then such specs are pending.
function M.available() return find() end

local function wait_for(what, fn, seconds)
  local deadline = atoll.now() + (seconds or SECONDS)
  while true do
    local value = fn()
    if value then return value end
    if atoll.now() > deadline then
      error("waited in vain for " .. (type(what) == "function" and what() or what), 3)
    end
    atoll.sleep(0.02)
  end
end

local function start()
  local path = assert(find(), "there is no chromium; contrib/setup test installs it")
  local profile = assert(atoll.fs.tempdir())
  local log = profile .. "/log"
  local fd = assert(uv.fs_open(log, "w", 384))
  local process, problem = uv.spawn(path, {
    args = {
      "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
      "--disable-dev-shm-usage", "--disable-extensions", "--disable-sync",
      "--disable-background-networking", "--disable-component-update",
      "--disable-default-apps", "--mute-audio", "--hide-scrollbars",
      "--remote-debugging-port=0", "--remote-allow-origins=*",
      "--user-data-dir=" .. profile, "about:blank",
    },
    stdio = { nil, fd, fd },
  }, function() end)
  uv.fs_close(fd)
  assert(process, problem)
  running = { process = process, profile = profile }
  local text = wait_for("chromium to listen", function()
    local port = atoll.fs.read(profile .. "/DevToolsActivePort")
    return port and port:find "\n/" and port
  end)
  local port, target = text:match "^(%d+)\n(%S+)"
  running.origin = "127.0.0.1:" .. port
  running.ws = assert(atoll.websocket.connect("ws://" .. running.origin .. target,
    { message_max = 256 * 1024 * 1024, compress = false }))
  running.pages, running.answers, running.count = {}, {}, 0
  -- What comes: answers to commands by their number, and events of pages.
  running.task = atoll.spawn(function()
    for message in running.ws:messages() do
      local news = atoll.json.decode(message)
      local page = running.pages[news.sessionId or ""]
      if news.id then
        running.answers[news.id] = news
      elseif page then
        page:note(news.method, news.params)
      end
    end
  end)
end

-- Calls a method of the protocol and gives its result.
local function call(method, params, session)
  if not running then start() end
  running.count = running.count + 1
  local id = running.count
  assert(running.ws:send(atoll.json.encode {
    id = id, method = method, sessionId = session,
    params = next(params or {}) and params or nil,
  }))
  local answer = wait_for(method, function() return running.answers[id] end)
  running.answers[id] = nil
  if answer.error then error(method .. ": " .. answer.error.message, 2) end
  return answer.result
end

-- ---- pages ----

local page_methods = {}
local page_meta = { __index = page_methods, __name = "spec.page" }

function page_methods:note(method, params)
  if method == "Page.loadEventFired" then
    self.loads = self.loads + 1
  elseif method == "Runtime.exceptionThrown" then
    local details = params.exceptionDetails
    self.problem = self.problem or details.exception and details.exception.description
      or details.text
  end
end

local function check(page)
  local problem = page.problem
  page.problem = nil
  if problem then error("in the page: " .. problem, 3) end
end

function page_methods:call(method, params)
  return call(method, params, self.session)
end

function page_methods:go(url)
  local before = self.loads
  self:call("Page.navigate", { url = url })
  wait_for("the page to load", function() return self.loads > before end)
  check(self)
end

function page_methods:reload()
  local before = self.loads
  self:call("Page.reload")
  wait_for("the page to load", function() return self.loads > before end)
  check(self)
end

-- The value of an expression.
function page_methods:eval(expression)
  local result = self:call("Runtime.evaluate", {
    expression = expression, returnByValue = true, awaitPromise = true,
    userGesture = true,
  })
  local details = result.exceptionDetails
  if details then
    error("in the page: " .. (details.exception and details.exception.description
      or details.text), 2)
  end
  check(self)
  return result.result.value
end

-- Until the expression is true; gives its value.
function page_methods:wait(expression, seconds)
  return wait_for(expression, function()
    local value = self:eval(expression)
    return value ~= atoll.json.null and value or nil
  end, seconds)
end

function page_methods:focus(selector)
  self:wait(("!!document.querySelector(%q)"):format(selector))
  self:eval(("document.querySelector(%q).focus()"):format(selector))
end

-- Clicks where the element's middle is, as a mouse would.
function page_methods:click(selector)
  self:wait(("!!document.querySelector(%q)"):format(selector))
  local at = self:eval(([[(() => {
    const e = document.querySelector(%q);
    e.scrollIntoView({ block: "nearest" });
    const r = e.getBoundingClientRect();
    return { x: r.x + r.width / 2, y: r.y + r.height / 2 };
  })()]]):format(selector))
  for _, kind in ipairs { "mousePressed", "mouseReleased" } do
    self:call("Input.dispatchMouseEvent", {
      type = kind, x = at.x, y = at.y, button = "left", clickCount = 1,
    })
  end
  check(self)
end

-- Into what has the focus.
function page_methods:type(text)
  self:call("Input.insertText", { text = text })
  check(self)
end

local keys = {
  Enter = { key = "Enter", code = "Enter", windowsVirtualKeyCode = 13, text = "\r" },
  Tab = { key = "Tab", code = "Tab", windowsVirtualKeyCode = 9 },
  Escape = { key = "Escape", code = "Escape", windowsVirtualKeyCode = 27 },
}

function page_methods:press(name)
  local key = assert(keys[name])
  local down, up = { type = "keyDown" }, { type = "keyUp" }
  for field, value in pairs(key) do down[field], up[field] = value, value end
  self:call("Input.dispatchKeyEvent", down)
  up.text = nil
  self:call("Input.dispatchKeyEvent", up)
  check(self)
end

-- Files for an <input type=file>.
function page_methods:choose(selector, paths)
  local root = self:call("DOM.getDocument").root.nodeId
  local node = self:call("DOM.querySelector", { nodeId = root, selector = selector })
  self:call("DOM.setFileInputFiles", { nodeId = node.nodeId, files = paths })
end

-- In CSS pixels; a phone's are denser, and it has a finger.
function page_methods:size(width, height, phone)
  self:call("Emulation.setDeviceMetricsOverride", {
    width = width, height = height, deviceScaleFactor = phone and 2 or 1,
    mobile = phone or false,
  })
end

-- In the dark, or with other wishes: { ["prefers-color-scheme"] = "dark" }
function page_methods:media(features)
  local list = {}
  for name, value in pairs(features) do
    list[#list + 1] = { name = name, value = value }
  end
  self:call("Emulation.setEmulatedMedia", { features = list })
end

-- A PNG, into a file if there is a path.
function page_methods:screenshot(path)
  local crypto = require "atoll.core.crypto"
  local shot = self:call("Page.captureScreenshot", { format = "png" }).data
  local bytes = crypto.unbase64(shot)
  if path then assert(atoll.fs.write(path, bytes)) end
  return bytes
end

function page_methods:close()
  if not running or not running.pages[self.session] then return end
  running.pages[self.session] = nil
  call("Target.closeTarget", { targetId = self.target })
  if self.context then
    call("Target.disposeBrowserContext", { browserContextId = self.context })
  end
end

-- A new page with storage and cookies of its own, as another visitor's.
function M.open(url, width, height)
  local context = call("Target.createBrowserContext").browserContextId
  local target = call("Target.createTarget", {
    url = "about:blank", browserContextId = context,
  }).targetId
  local session = call("Target.attachToTarget", { targetId = target, flatten = true })
    .sessionId
  local page = setmetatable({
    target = target, session = session, context = context, loads = 0, problem = nil,
  }, page_meta)
  running.pages[session] = page
  for _, domain in ipairs { "Page", "Runtime", "DOM" } do
    page:call(domain .. ".enable")
  end
  page:size(width or 1280, height or 800)
  if url then page:go(url) end
  return page
end

function M.finish()
  if not running then return end
  for _, page in pairs(running.pages) do page:close() end
end

function M.stop()
  if not running then return end
  local it = running
  pcall(call, "Browser.close")
  running = nil
  it.task:cancel()
  it.ws:close()
  it.process:kill "sigkill"
  it.process:close()
  uv.run "nowait"
  atoll.fs.remove(it.profile, { recursive = true })
end

return M
