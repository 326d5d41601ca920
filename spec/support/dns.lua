-- A name server for specs, on UDP and TCP of one loopback port: it answers from a
-- table, counts what it is asked, and lies as it is told to.
local events = require "support.events"
local uv = require "luv"

local M = {}

local running = {}
local TYPES = { [1] = "A", [28] = "AAAA" }
local CODES = { NOERROR = 0, SERVFAIL = 2, NXDOMAIN = 3, REFUSED = 5 }

local function labels(name)
  return (name:gsub("([^.]+)%.?", function(label) return string.pack("s1", label) end))
    .. "\0"
end

local function question_of(packet)
  local parts, label, at = {}, string.unpack("s1", packet, 13)
  while label ~= "" do
    parts[#parts + 1] = label
    label, at = string.unpack("s1", packet, at)
  end
  local kind = string.unpack(">I2", packet, at)
  return table.concat(parts, "."), TYPES[kind] or tostring(kind),
    packet:sub(13, at + 3)
end

local function address(text)
  if text:find ":" then
    local _, given = text:gsub("%x+", "")
    local n = {}
    for group in text:gsub("::", (":0"):rep(8 - given) .. ":"):gmatch "%x+" do
      n[#n + 1] = tonumber(group, 16)
    end
    return string.pack(">" .. ("I2"):rep(8), table.unpack(n))
  end
  return string.char(text:match "^(%d+)%.(%d+)%.(%d+)%.(%d+)$")
end

local function record(name, kind, ttl, data)
  return labels(name) .. string.pack(">I2I2I4s2", kind, 1, ttl, data)
end

-- The whole packet for a row: code, cname, ttl, A, AAAA; tcp: whether over TCP.
local function answer(id, name, kind, question, row, tcp)
  local cut = row.truncated and not tcp
  local records, owner, ttl = {}, name, row.ttl or 60
  if row.cname then
    records[1] = record(name, 5, row.cname_ttl or ttl, labels(row.cname))
    owner = row.cname
  end
  for _, text in ipairs(not cut and row[kind] or {}) do
    records[#records + 1] = record(owner, kind == "A" and 1 or 28, ttl, address(text))
  end
  return string.pack(">I2I2I2I2I2I2", id, 0x8180 | (cut and 0x200 or 0)
    | CODES[row.code or "NOERROR"], 1, #records, 0, 0) .. question
    .. table.concat(records)
end

-- What is to be sent, or nil for silence.
local function reply(s, packet, tcp)
  if #packet < 17 then return nil end
  local id = string.unpack(">I2", packet)
  local name, kind, question = question_of(packet)
  s.total = s.total + 1
  s.asked[name .. " " .. kind] = (s.asked[name .. " " .. kind] or 0) + 1
  if tcp then s.tcp = s.tcp + 1 end
  local row = s.names[name] or { code = "NXDOMAIN" }
  if row.silent then return nil end
  local text = answer(id, name, kind, question, row, tcp)
  return row.forge and row.forge(text, kind) or text
end

local methods = {}

-- How often that has been asked: "www.test A".
function methods:count(what) return self.asked[what] or 0 end

-- Waits until it has been asked.
function methods:wait(what, times)
  events.wait("the question " .. what, function()
    return self:count(what) >= (times or 1)
  end)
end

-- Answers what it has kept to itself, now as the table says.
function methods:release()
  local held = self.held
  self.held = {}
  for _, packet in ipairs(held) do
    local text = reply(self, packet.text)
    self.total = self.total - 1
    if text then self.udp:send(text, packet.ip, packet.port) end
  end
end

local function serve_udp(s)
  s.udp:recv_start(events.guard(function(err, packet, from)
    assert(not err, err)
    if not packet then return end
    local text = reply(s, packet)
    if text then
      s.udp:send(text, from.ip, from.port)
    else
      table.insert(s.held, { text = packet, ip = from.ip, port = from.port })
    end
  end))
end

-- Whether it can: libuv keeps the news of a port in use until now.
local function serve_tcp(s)
  return s.listener:listen(16, events.guard(function(err)
    assert(not err, err)
    local client, got = uv.new_tcp(), ""
    s.listener:accept(client)
    s.clients[#s.clients + 1] = client
    client:read_start(events.guard(function(_, data)
      if not data then return end
      got = got .. data
      while #got > 2 and #got >= 2 + string.unpack(">I2", got) do
        local packet, at = string.unpack(">s2", got)
        got = got:sub(at)
        local text = reply(s, packet, true)
        if text then client:write(string.pack(">s2", text)) end
      end
    end))
  end))
end

-- names: name -> { A = { ... }, AAAA = { ... }, ttl =, cname =, code =, silent =,
-- truncated =, forge = function(packet, kind) -> packet }. May be changed at any time.
function M.start(names)
  local s = setmetatable({ names = names, asked = {}, total = 0, tcp = 0, clients = {},
    held = {} }, { __index = methods })
  for _ = 1, 20 do
    s.udp, s.listener = uv.new_udp(), uv.new_tcp()
    assert(s.udp:bind("127.0.0.1", 0))
    s.port = s.udp:getsockname().port
    if s.listener:bind("127.0.0.1", s.port) == 0 and serve_tcp(s) == 0 then break end
    s.udp:close()
    s.listener:close()
  end
  s.address = "127.0.0.1:" .. s.port
  serve_udp(s)
  running[#running + 1] = s
  return s
end

local function close(handle)
  if not handle:is_closing() then handle:close() end
end

-- Ends all servers.
function M.finish()
  for _, s in ipairs(running) do
    close(s.udp)
    close(s.listener)
    for _, client in ipairs(s.clients) do close(client) end
  end
  running = {}
  uv.run "nowait" -- luv must see them closed before the state is
end

return M
