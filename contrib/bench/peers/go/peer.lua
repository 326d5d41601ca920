return {
  title = "go",
  from = "Debian: golang-go",
  version = "go version | sed 's/go version go\\([^ ]*\\).*/\\1/'",
  set = "net/http, GOMAXPROCS as many as workers",
  prepare = true,
  lacks = {
    log = "net/http writes no access log",
    reload = "has none",
    websocket = "the standard library has no WebSockets",
    news = "the standard library has no WebSockets",
  },
}
