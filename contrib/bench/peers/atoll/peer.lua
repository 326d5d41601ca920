return {
  title = "atoll",
  from = "this checkout",
  version = "$ATOLL --version | sed 's/^atoll //; s/ (.*//'",
  set = "one isolate for each worker; access log off",
  reload = "sighup",
  count = true,
}
