return {
  title = "node",
  from = "Debian: nodejs; npm: ws",
  version = "ls $NPM/ws >/dev/null && node --version | tr -d v",
  set = "NODE_ENV=production; its http module without a framework, upstream by an "
    .. "agent with keepAlive, WebSockets by ws without deflate; two workers: cluster",
  warm = 0.6,
  lacks = {
    log = "writes no access log of its own",
    reload = "has none",
    file = "its http module serves no files",
    download = "its http module serves no files",
  },
}
