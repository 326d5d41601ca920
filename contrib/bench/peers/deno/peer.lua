return {
  title = "deno",
  from = "npm: deno",
  version = "NO_COLOR=1 DENO_NO_UPDATE_CHECK=1 $NPM/@deno/linux-*/deno --version | "
    .. "sed -n 's/^deno \\([^ ]*\\).*/\\1/p'",
  set = "deno serve; two workers: --parallel with DENO_JOBS",
  warm = 0.6,
  lacks = {
    log = "writes no access log of its own",
    reload = "has none",
    file = "its file server is a library from elsewhere",
    download = "its file server is a library from elsewhere",
  },
}
