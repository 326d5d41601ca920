-- The page in a browser: make browser
local browser = require "support.browser"
local host = require "support.host"

describe("the page of the files", function()
  local shots = os.getenv "SCREENSHOTS" -- a directory
  local h, dir

  before_each(function()
    dir = host.directory {
      ["notes.txt"] = "hello", ["A folder/in.txt"] = "inside",
      ["holiday film.mp4"] = ("x"):rep(1400000), ['<b>&"quotes".html'] = "x",
      ["a very long name, to see what a phone makes of it, and of that.zip"] = "z",
    }
    h = host.start { dir = "apps/files", env = { FILES = dir } }
  end)

  after_each(function()
    browser.finish()
    host.finish()
  end)

  teardown(browser.stop)

  local function shoot(page, name)
    if shots then page:screenshot(shots .. "/" .. name .. ".png") end
  end

  local function there(page, name)
    page:wait(([[
      document.readyState === "complete" &&
        [...document.querySelectorAll("td.name a")].some(a => a.textContent === %q)
    ]]):format(name))
  end

  local function read(name)
    local file = io.open(dir .. "/" .. name, "rb")
    local text = file and file:read "a"
    if file then file:close() end
    return text
  end

  -- A file that was dropped on the page, of that many letters.
  local function drop(page, name, size)
    page:eval(([[{
      const data = new DataTransfer();
      data.items.add(new File(["x".repeat(%d)], %q));
      const about = { dataTransfer: data, bubbles: true, cancelable: true };
      document.body.dispatchEvent(new DragEvent("dragenter", about));
      document.body.dispatchEvent(new DragEvent("drop", about));
    }]]):format(size, name))
  end

  it("takes files that are chosen, and those that are dropped", function()
    local page = browser.open(h.url, 1000, 700)
    shoot(page, "files-desktop")
    local chosen = host.directory { ["new one.txt"] = "chosen" }
    page:choose("#upload input", { chosen .. "/new one.txt" })
    there(page, "new one.txt")
    assert.equal("chosen", read "new one.txt")
    drop(page, "dropped.bin", 3000000)
    there(page, "dropped.bin")
    assert.equal(3000000, #read "dropped.bin")
    assert.is_false(page:eval 'document.body.classList.contains("over")')
  end)

  it("shows how far an upload is, and why it failed", function()
    local page = browser.open(h.url, 390, 844)
    page:size(390, 844, true)
    page:eval [[{
      window.seen = [];
      new MutationObserver(() => seen.push(told.textContent)).observe(
        told, { childList: true });
    }]]
    page:call("Network.enable")
    page:call("Network.emulateNetworkConditions", {
      offline = false, latency = 0, downloadThroughput = -1, uploadThroughput = 4000000,
    })
    drop(page, "large.bin", 30000000)
    page:wait [[parseInt(told.textContent) > 0 && parseInt(told.textContent) < 100]]
    shoot(page, "files-uploading")
    page:click "#progress button"
    page:wait "progress.hidden"
    assert.is_nil(read "large.bin")
    drop(page, ".hidden", 10)
    page:wait [[!problem.hidden && problem.textContent.includes("begin with a dot")]]
    shoot(page, "files-problem")
  end)

  it("goes into folders, makes them and deletes", function()
    local page = browser.open(h.url, 1000, 700)
    page:click "td.name a.folder"
    there(page, "in.txt")
    page:click "nav a"
    there(page, "notes.txt")
    page:click "summary"
    page:focus "details input"
    page:type "<i>new"
    page:press "Enter"
    there(page, "<i>new")
    assert.is_false(page:eval "!!document.querySelector('td i, td b')")
    page:eval "window.confirm = (text) => text === 'Delete notes.txt?'"
    page:click "form[data-name='notes.txt'] button"
    page:wait [[document.readyState === "complete" &&
      !document.body.textContent.includes("notes.txt")]]
    assert.is_nil(read "notes.txt")
    page:click "th.size a"
    page:wait "location.search === '?sort=size'"
    page:wait "document.querySelector('a.file').textContent === 'holiday film.mp4'"
  end)

  it("fits a phone, in light and in the dark", function()
    local page = browser.open(h.url, 390, 844)
    page:size(390, 844, true)
    assert.is_true(page:eval "document.documentElement.scrollWidth <= innerWidth")
    shoot(page, "files-phone")
    page:media { ["prefers-color-scheme"] = "dark" }
    page:click "summary"
    shoot(page, "files-dark")
    assert.is_true(page:eval "document.documentElement.scrollWidth <= innerWidth")
  end)
end)
