-- The page in a browser: make browser
local browser = require "support.browser"
local host = require "support.host"

describe("the page of the chat", function()
  local shots = os.getenv "SCREENSHOTS" -- a directory

  after_each(function()
    browser.finish()
    host.finish()
  end)

  teardown(browser.stop)

  local h

  local function come(name, width, height, phone)
    local page = browser.open(h.url .. "/#lobby", width, height)
    if phone then page:size(width, height, true) end
    page:focus "#name"
    page:type(name)
    page:click "#enter button"
    page:wait "document.querySelector('#state').dataset.state === 'on'"
    return page
  end

  local function say(page, text)
    page:focus "#text"
    page:type(text)
    page:press "Enter"
  end

  -- Until it shows that, once and not as something that is still to be sent.
  local function shows(page, name, text)
    page:wait(([[
      [...document.querySelectorAll(".message:not(.pending)")].filter(m =>
        m.dataset.from === %q && m.querySelector(".what").firstChild.data === %q
      ).length === 1
    ]]):format(name, text))
  end

  local function shoot(page, name)
    if shots then page:screenshot(shots .. "/" .. name .. ".png") end
  end

  it("talks to another one", function()
    h = host.start { dir = "apps/chat", isolates = 2 }
    local first = browser.open(h.url)
    shoot(first, "chat-enter")
    first:close()
    local ann, ben = come("Ann", 1280, 800), come("Ben", 390, 844, true)
    ann:wait "document.querySelector('#people').textContent === '2 people'"
    say(ann, "Hello! Who is there?")
    shows(ben, "Ann", "Hello! Who is there?")
    say(ben, "It is me. We have not met for a long time, have we?")
    shows(ann, "Ben", "It is me. We have not met for a long time, have we?")
    ben:focus "#text"
    ben:type "so"
    ann:wait "document.querySelector('#typing').textContent === 'Ben is typing …'"
    shoot(ann, "chat-desktop")
    ben:click "#people"
    assert.equal("Ann, Ben (you)", ben:eval [[
      [...document.querySelectorAll("#names li")].map(e => e.textContent).join(", ")]])
    shoot(ben, "chat-phone")
    assert.is_true(ben:eval "document.documentElement.scrollWidth <= innerWidth")
    ann:media { ["prefers-color-scheme"] = "dark" }
    shoot(ann, "chat-dark")
    ben:close()
    ann:wait "document.querySelector('#people').textContent === 'only you'"
  end)

  it("shows what is said, and runs none of it", function()
    h = host.start { dir = "apps/chat", isolates = 1 }
    local ann, evil = come "Ann", come "<b>Eve</b>"
    local text = "<img src=x onerror=alert(1)> <script>alert(2)</script> &amp;"
    say(evil, text)
    shows(ann, "<b>Eve</b>", text)
    assert.is_false(ann:eval [[
      !!document.querySelector("#log img, #log script, #log b")]])
  end)

  it("stays while the code is replaced", function()
    h = host.start { dir = "apps/chat", isolates = 2, set = { drain_timeout = 1 } }
    local ann, ben = come "Ann", come "Ben"
    for _, page in ipairs { ann, ben } do page:eval "socket.same = true" end
    for i = 1, 3 do
      say(ann, "before " .. i)
      h:reload()
      say(ben, "after " .. i)
      for _, page in ipairs { ann, ben } do
        shows(page, "Ann", "before " .. i)
        shows(page, "Ben", "after " .. i)
      end
    end
    for _, page in ipairs { ann, ben } do
      assert.is_true(page:eval "socket.same === true")
      assert.equal("2 people",
        page:eval "document.querySelector('#people').textContent")
    end
  end)

  it("comes back when the server does", function()
    h = host.start { dir = "apps/chat", isolates = 1 }
    local ann = come "Ann"
    local address = h.url:gsub("^http://", "")
    say(ann, "first")
    shows(ann, "Ann", "first")
    host.finish()
    ann:wait "document.querySelector('#state').dataset.state === 'bad'"
    say(ann, "kept")
    assert.is_true(ann:eval "!!document.querySelector('.message.pending')")
    shoot(ann, "chat-lost")
    h = host.start { dir = "apps/chat", isolates = 1, listen = { address } }
    shows(ann, "Ann", "kept")
    ann:wait "document.querySelector('#state').dataset.state === 'on'"
  end)
end)
