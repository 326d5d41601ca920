-- The stubs for editors name what there is, and nothing that is not.
local app = require "atoll.app"
local atoll = require "atoll"
local file = require "support.file"
local request = require "atoll.request"
local response = require "atoll.core.response" -- which atoll.request adds to
local testing = require "atoll.testing"

-- Functions that only say that they are not there yet, and those that the host calls.
local hidden = {
  make_query = true, make_cookies = true, make_session = true,
}

local function read(name)
  local text = file.read("lua/atoll/types/" .. name .. ".lua")
  return text
end

-- "app" -> names of the functions that the stub declares with that table and sign.
local function declared(stub, prefix)
  local names = {}
  for name in read(stub):gmatch("\nfunction " .. prefix .. "([%w_]+)%(") do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

local function functions_of(t, except)
  local names = {}
  for name, value in pairs(t) do
    if type(value) == "function" and not except[name] then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

describe("types", function()
  it("have all of atoll", function()
    local names = declared("atoll", "atoll%.")
    for _, name in ipairs(names) do assert.truthy(atoll[name]) end -- some are made late
    assert.same(functions_of(atoll, hidden), names)
    assert.same({ "debug", "error", "info", "warn" }, functions_of(atoll.log, {}))
  end)

  it("have all of an app", function()
    local methods = getmetatable(app.new()).__index
    assert.same(functions_of(methods, {}), declared("app", "app:"))
  end)

  it("have all of a request and of res", function()
    assert.same(functions_of(request, hidden), declared("request", "request:"))
    assert.same(functions_of(response, { keep = true, relays = true }),
      declared("request", "res:"))
  end)

  it("have all of net", function()
    local net = require "atoll.net"
    assert.same(functions_of(net, {}), declared("net", "net%."))
    local listener <close> = net.listen "127.0.0.1:0"
    local socket <close> = net.connect(listener:name())
    local udp <close> = net.udp()
    for name, object in pairs { listener = listener, socket = socket, udp = udp } do
      assert.same(functions_of(getmetatable(object).__index, {}),
        declared("net", name .. ":"))
    end
  end)

  it("have all of http", function()
    assert.same(functions_of(require "atoll.http", {}), declared("http", "http%."))
  end)

  it("have all of the websocket client", function()
    assert.same(functions_of(require "atoll.websocket", {}),
      declared("websocket_client", "client%."))
  end)

  it("have all of fs and of its files", function()
    assert.same(functions_of(atoll.fs, {}), declared("fs", "fs%."))
    local null <close> = assert(atoll.fs.open "/dev/null")
    assert.same(functions_of(getmetatable(null).__index, {}), declared("fs", "file:"))
  end)

  it("have all of a shared dictionary", function()
    local methods = getmetatable(atoll.shared "types").__index
    assert.same(functions_of(methods, {}), declared("shared", "dictionary:"))
  end)

  it("have all of a topic and of a subscription", function()
    local function methods(object)
      local found = functions_of(debug.getmetatable(object).__index, {})
      while found[1]:find("^__") do table.remove(found, 1) end
      return found
    end
    local topic = atoll.topic "types"
    assert.same(methods(topic), declared("topic", "topic:"))
    assert.same(methods(topic:subscribe()), declared("topic", "subscription:"))
  end)

  it("have all of sessions, csrf and passwords", function()
    local app_session = require "atoll.session"
    assert.same(functions_of(app_session, {}), declared("session", "M%."))
    assert.same({ "destroy", "flash", "rotate", "save" },
      declared("session", "session:"))
    assert.same(functions_of(require "atoll.csrf", {}), declared("csrf", "csrf%."))
    assert.same(functions_of(atoll.password, {}), declared("password", "password%."))
  end)

  it("have all of templates", function()
    assert.same(functions_of(atoll.template, { load = true }),
      declared("template", "template%."))
  end)

  it("have all of testing", function()
    assert.same(functions_of(testing, {}), declared("testing", "testing%."))
  end)
end)
