-- Headers of the PROXY protocol, as a proxy puts them in front of a connection.
local M = {}

local SIGNATURE = "\r\n\r\n\0\r\nQUIT\n"

local function number(ip)
  local out = ip:gsub("%d+%.?", function(part)
    return string.char(tonumber((part:gsub("%.", ""))))
  end)
  return out
end

-- Version 1, of a client with that address, and port 4000.
function M.line(ip)
  local v6 = ip:find ":"
  return ("PROXY TCP%d %s %s 4000 80\r\n"):format(v6 and 6 or 4, ip,
    v6 and "2001:db8::80" or "192.0.2.80")
end

function M.tlv(kind, value) return string.pack(">Bs2", kind, value) end

-- Version 2 of any command and kind, with that block.
function M.block(command, kind, block)
  return SIGNATURE .. string.pack(">BBs2", command, kind, block)
end

-- Version 2, of a client with that IPv4 address, and port 4000; more: what follows.
function M.binary(ip, more)
  return M.block(0x21, 0x11, number(ip) .. number "192.0.2.80"
    .. string.pack(">I2I2", 4000, 80) .. (more or ""))
end

M.LOCAL = M.block(0x20, 0, "")

-- The client's TLS, as a proxy that has ended it tells of it.
M.TLS = M.tlv(0x20, "\1\0\0\0\0" .. M.tlv(0x21, "TLSv1.3"))

return M
