return {
  title = "bun",
  from = "npm: bun",
  version = "$NPM/@oven/bun-linux-*/bin/bun --version",
  set = "NODE_ENV=production, development off; Bun.serve with its routes and pub/sub; "
    .. "two workers: two processes with reusePort",
  warm = 0.6,
  lacks = {
    log = "writes no access log of its own",
    reload = "--hot is for development",
  },
}
