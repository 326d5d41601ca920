return {
  title = "h2o-mruby",
  from = "Debian: h2o",
  version = "h2o --version | sed -n 's/h2o version //p'",
  set = "num-threads; no access log, else to a file; handlers in mruby",
  prepare = true,
  count = true,
  lacks = {
    websocket = "mruby handlers have no WebSockets",
    news = "mruby handlers have no WebSockets",
    reload = "only under its start_server, in new processes",
  },
}
