return {
  title = "workerd",
  from = "npm: workerd",
  version = "$NPM/@cloudflare/workerd-linux-*/bin/workerd --version | sed 's/.* //'",
  set = "a module worker, its broadcast in a Durable Object in memory",
  prepare = true,
  warm = 0.6,
  lacks = {
    log = "writes no access log of its own",
    reload = "has none",
    two = "one thread answers all requests",
    file = "serves files only to its workers",
    download = "serves files only to its workers",
  },
}
