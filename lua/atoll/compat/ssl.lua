-- LuaSec waits for its fiber only. Its C module blocks the thread by a select of its
-- own; with a time limit of 0 it does one step and says what it waits for. So every
-- connection has the limit 0, and the waiting is done here, with the limits that the
-- program set. Called with ssl.core when that is loaded, before anybody sees it.
--
-- The texts are LuaSec's: a time that is over is "wantread" or "wantwrite".
--
-- A connection that has failed is not asked again. OpenSSL then fails without a system
-- call, and LuaSec takes the errno of 0 for success: it would try for ever, or say that
-- the handshake was made.
local fd = require "atoll.core.fd"
local now = require("atoll.core.task").now

-- What is known of a connection: block and total are its limits in seconds, waiting is
-- how many fibers wait, closed whether it was closed meanwhile, failed why it is of no
-- use any more.
local known = setmetatable({}, { __mode = "k" })

local function wants(err) return err == "wantread" or err == "wantwrite" end

-- Notes what ends a connection for good. A peer that has closed one way may still read,
-- or have written.
local function note(state, err)
  if err ~= "closed" and err ~= "Broken pipe" then state.failed = err or "closed" end
  return err
end

-- How long a wait of an operation that has begun then may last; nil for no limit, false
-- for not at all.
local function left(state, began)
  local block, total = state.block, state.total
  if block == 0 or total == 0 then return false end
  local seconds = block > 0 and block or nil
  if total > 0 then
    local rest = total - (now() - began)
    if rest <= 0 then return false end
    seconds = math.min(seconds or rest, rest)
  end
  return seconds
end

return function(core)
  local meta = debug.getregistry()["SSL:Connection"]
  local methods = meta and meta.__index
  if type(methods) ~= "table" or not methods.dohandshake then return end
  local create, handshake, receive, send, settimeout = core.create,
    methods.dohandshake, methods.receive, methods.send, methods.settimeout
  local destroy = meta.__gc

  -- Taking leave is a write that blocks: not to a peer that takes nothing any more.
  local function close(conn)
    local number = conn:getfd()
    if number >= 0 and not fd.writable(number) then fd.cut(number) end
    return destroy(conn)
  end

  local state_meta = {
    __close = function(state) -- a wait is over
      state.waiting = state.waiting - 1
      if state.closed and state.waiting == 0 then close(state.conn) end
    end,
  }

  -- Waits for what a step wants. False when the time is over, or the connection closed.
  local function wait(state, want, began)
    local seconds = left(state, began)
    if seconds == false then return false end
    state.waiting = state.waiting + 1
    local _ <close> = state
    local ready = fd.wait(state.conn:getfd(), want == "wantread" and "read" or "write",
      seconds)
    return ready and not state.closed
  end

  function core.create(...)
    local conn, err = create(...)
    if conn then
      settimeout(conn, 0)
      known[conn] = setmetatable({
        conn = conn, block = -1, total = -1, waiting = 0, closed = false,
      }, state_meta)
    end
    return conn, err
  end

  function methods.settimeout(conn, seconds, mode)
    local state, kind = known[conn], (mode or "b"):sub(1, 1)
    if not state or not kind:find "[btr]" then
      return settimeout(conn, seconds, mode) -- it knows how to complain
    end
    state[kind == "b" and "block" or "total"] = seconds or -1
    return 1
  end

  function methods.dohandshake(conn)
    local state, began = known[conn], now()
    if not state then return handshake(conn) end
    if state.failed then return false, state.failed end
    while true do
      local ok, err = handshake(conn)
      if ok then return ok end
      if not wants(err) then
        state.failed = err or "closed"
        return ok, err
      end
      if not wait(state, err, began) then
        return false, state.closed and "closed" or err
      end
    end
  end

  function methods.send(conn, data, first, last)
    local state, began = known[conn], now()
    if not state then return send(conn, data, first, last) end
    if state.failed then return nil, state.failed, 0 end
    while true do
      local sent, err, done = send(conn, data, first, last)
      if sent then return sent, err, done end
      if not wants(err) then return nil, note(state, err), done end
      if not wait(state, err, began) then
        return nil, state.closed and "closed" or err, done
      end
      first = done + 1
    end
  end

  -- Pieces are joined at the end; as a prefix each would be copied again and again.
  function methods.receive(conn, pattern, prefix)
    local state = known[conn]
    if not state then return receive(conn, pattern, prefix) end
    if state.failed then return nil, state.failed, prefix or "" end
    local data, err, partial = receive(conn, pattern, prefix)
    if data then return data, err, partial end
    if not wants(err) then return nil, note(state, err), partial end
    local began = now()
    local pieces, size, given = { partial }, #partial, prefix and #prefix or 0
    local count = tonumber(pattern)
    repeat
      if not wait(state, err, began) then
        return nil, state.closed and "closed" or err, table.concat(pieces)
      end
      data, err, partial = receive(conn, count and count - size or pattern)
      pieces[#pieces + 1] = data or partial
      size = size + #(data or partial)
    until not wants(err)
    local text = table.concat(pieces)
    local all = type(pattern) == "string" and pattern:sub(1, 2) == "*a"
    if data or (all and err == "closed" and size > given) then return text, nil, nil end
    return nil, note(state, err), text
  end

  -- A fiber that waits has to find out before the descriptor is gone.
  function methods.close(conn)
    local state = known[conn]
    if not state or state.waiting == 0 then return close(conn) end
    state.closed = true
    fd.cut(conn:getfd())
  end

  meta.__gc, meta.__close = close, methods.close
end
