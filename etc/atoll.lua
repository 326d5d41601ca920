-- Settings of atoll, each with its default. Put what is to be different into
-- atoll.lua beside app.lua, or into a file named by --config. The environment
-- (ATOLL_<NAME>) and the command line (--<name>) go before this file.
-- This is Lua without most of Lua; env("NAME", default) reads the environment.
-- Times are in seconds, or texts such as "100ms"; sizes such as "64K".
return {
  -- Addresses to listen on: HOST:PORT, [IPV6]:PORT, :PORT (all addresses) or
  -- unix:/PATH. Port 0 picks one. PORT and HOST in the environment change the
  -- default. With the word proxy behind it, as in "127.0.0.1:8080 proxy", an
  -- address is for proxies alone: see trusted_proxies.
  -- listen = { "127.0.0.1:8080" },

  -- Proxies that are believed when they say who the client is: IP addresses,
  -- networks such as 10.0.0.0/8 or fd00::/8, and unix: for all that come
  -- through a unix socket. Their forwarded headers count, and they alone may
  -- connect to what is listened on with the word proxy, where each connection
  -- has to begin with a header of the PROXY protocol, version 1 or 2.
  -- trusted_proxies = "",

  -- What trusted_proxies write: X-Forwarded-For, -Proto and -Host, or
  -- Forwarded (RFC 7239). The other is not looked at, since a proxy hands on
  -- what it does not write.
  -- One of x-forwarded|forwarded.
  -- forwarded = "x-forwarded",

  -- Threads that serve, each with a Lua state of its own; auto is the number
  -- of CPUs that affinity and cgroup quota leave, shared out among the
  -- processes.
  -- isolates = "auto",

  -- Processes that serve side by side, each with all its isolates, so that a
  -- crash of C code costs one of them. What isolates share they share within a
  -- process.
  -- processes = 1,

  -- Give every isolate a listening socket of its own (SO_REUSEPORT) in place
  -- of a clone of one.
  -- reuseport = false,

  -- Become this user once all sockets are bound; needs root.
  -- user = "",

  -- Become a member of this group once all sockets are bound; without it the
  -- user's own.
  -- group = "",

  -- Let programs that the app starts gain privileges by being setuid, setgid
  -- or having capabilities, as sudo and postdrop do.
  -- new_privileges = false,

  -- Confine the processes that serve: they read the app, libraries and the
  -- system's configuration, write temporary files and logs, and start no
  -- program.
  -- sandbox = false,

  -- What a sandboxed process may read besides; without blanks in the paths.
  -- sandbox_read = "",

  -- What a sandboxed process may read and write besides.
  -- sandbox_write = "",

  -- File to keep the supervisor's process id in, locked while it runs.
  -- pid_file = "",

  -- Where messages go: stderr, stdout, off or a file.
  -- log = "stderr",

  -- The least important messages that are logged.
  -- One of debug|info|warn|error.
  -- log_level = "info",

  -- How log lines look; json also for the access log, which else is in
  -- combined format.
  -- One of text|json.
  -- log_format = "text",

  -- Where a line for each request goes: stdout, stderr, off or a file.
  -- access_log = "stdout",

  -- Name servers to ask, as IP, IP:PORT or [IPV6]:PORT, in place of those in
  -- /etc/resolv.conf.
  -- resolver = "",

  -- Time after which a silent name server is asked again; a name server is
  -- asked three times, waiting twice as long each time.
  -- resolver_timeout = 2,

  -- Writing a global in a handler is an error.
  -- strict = true,

  -- Let require search the share folders of Lua 5.3, 5.2 and 5.1, too, after
  -- its own.
  -- compat_path = false,

  -- What code written for others finds: 5.1 for the functions that Lua has had
  -- (unpack, setfenv, module, ...), ngx for OpenResty's sockets and the small
  -- part of ngx around them.
  -- Any of 5.1|ngx.
  -- compat = "",

  -- Lua's way of collecting garbage.
  -- One of incremental|generational.
  -- gc = "incremental",

  -- The longest request line; a longer one is answered with 414.
  -- request_line_max = "8K",

  -- Bytes of all header fields of a request; more are answered with 431.
  -- header_bytes_max = "32K",

  -- Header fields of a request; more are answered with 431.
  -- header_count_max = 100,

  -- The largest request body; a larger one is answered with 413.
  -- body_max = "16M",

  -- Parts of a multipart form, or names with their values in an urlencoded
  -- one; more are answered with 413.
  -- form_parts_max = 1000,

  -- The longest name in a form; a longer one is answered with 413.
  -- form_name_max = "1K",

  -- Bytes of the header of a part of a form; more are answered with 413.
  -- form_header_max = "8K",

  -- Bytes of a form that are kept in memory: an urlencoded one, or all fields
  -- of a multipart one that are no files; more are answered with 413.
  -- form_memory_max = "2M",

  -- Bytes of one part of a multipart form, within body_max; a larger one is
  -- answered with 413.
  -- form_part_max = "1T",

  -- Where temporary files of uploads are kept until the request is over;
  -- without it in $TMPDIR or /tmp.
  -- form_directory = "",

  -- Compress answers (gzip, br) for clients that accept it.
  -- compression = false,

  -- Bytes of a body from which on it is compressed.
  -- compress_min = "1K",

  -- Types that are compressed, separated by blanks; one may begin or end with
  -- a star.
  -- compress_types = "text/* *+json *+xml application/json application/jsonl application/javascript application/xml application/yaml application/wasm application/x-ndjson image/svg+xml image/x-icon image/bmp font/ttf font/otf",

  -- Which symlinks are followed among the files of public/ and app:static:
  -- those that lead to what is in the same directory, none, or all.
  -- One of inside|none|anywhere.
  -- symlinks = "inside",

  -- Files that each isolate at most keeps open because they may be asked for
  -- again.
  -- open_files = 256,

  -- Time for a request's head to arrive once its first byte has; then 408.
  -- head_timeout = 10,

  -- Time between two pieces of a request body; then 408.
  -- body_timeout = 30,

  -- What a request body has to come in with, on average, until its answer
  -- begins; who is slower gets 408 after body_timeout. 0 for any.
  -- body_rate = 100,

  -- Time that a connection without a request is kept open.
  -- idle_timeout = 60,

  -- Time that a client may accept nothing of its answer before it is cut off.
  -- write_timeout = 30,

  -- Memory that the Lua state of an isolate may have in use; a request that
  -- finds no more is answered with 503, and the state replaced if it stays
  -- full. auto is three quarters of the machine's memory, or of the cgroup's,
  -- divided among the isolates.
  -- memory = "auto",

  -- Time for an app to load in one isolate, and for its start and reload
  -- hooks; beyond it the start or reload fails.
  -- load_timeout = 30,

  -- Time for a handler to begin its answer; then it is ended, and the answer
  -- is 504; 0 lets it take any.
  -- handler_timeout = 30,

  -- Memory of each dictionary of atoll.shared that is opened without a
  -- capacity; when it is used up, the entries go that were not used for the
  -- longest time.
  -- shared_memory = "32M",

  -- A handler that runs this long without waiting is suspended, so that others
  -- have their turn; 0 lets it run on.
  -- slice = 0.005,

  -- A handler that runs this long without waiting is logged; 0 logs none.
  -- slice_warn = 0.05,

  -- Threads at most that do the work of atoll.fs for all isolates.
  -- file_threads = 4,

  -- Threads at most in which atoll.blocking runs functions for all isolates.
  -- blocking_threads = 4,

  -- Calls of atoll.fs, and as many of atoll.blocking, that are queued for a
  -- thread; further callers wait for room.
  -- blocking_queue = 256,

  -- Open connections; 0 for as many as file descriptors allow.
  -- connections_max = 0,

  -- Open connections of one client, an IPv6 client being its /64; further ones
  -- are turned away with 503. 0 for no limit. Those of trusted_proxies do not
  -- count, but for the client that a PROXY header names.
  -- connections_per_address = 0,

  -- Requests that one connection may send before it is closed; 0 for no limit.
  -- requests_per_connection = 0,

  -- The longest message that a WebSocket takes; a longer one closes it with
  -- 1009.
  -- websocket_message_max = "1M",

  -- Bytes of messages that wait for a WebSocket's handler before no more is
  -- read.
  -- websocket_queue = "64K",

  -- Silence after which a WebSocket is sent a ping; 0 for none.
  -- websocket_ping = 30,

  -- Time that a WebSocket's peer has to answer a ping or a close before it is
  -- cut off.
  -- websocket_timeout = 10,

  -- Time that a new program file has, after USR2, to serve.
  -- upgrade_timeout = 60,

  -- Time that a stopping host goes on accepting, for load balancers to notice.
  -- drain_delay = 0,

  -- Time that a stopping host, or an old generation, has to finish requests.
  -- drain_timeout = 30,

  -- Several apps in one host, in place of one on the command line. Each is a
  -- table with dir, which is relative to this file; path, as in path =
  -- "/shop", or host, as in host = "api.example.org" or "*.example.org", or
  -- both, or neither for whatever the others do not have; isolates and any
  -- other setting for this app alone.
  -- apps = {},
}
