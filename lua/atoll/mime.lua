-- Content types by file name extension.
local M = {}

local text = "; charset=utf-8"

local types = {
  aac = "audio/aac", apng = "image/apng", atom = "application/atom+xml",
  avif = "image/avif", bin = "application/octet-stream", bmp = "image/bmp",
  bz2 = "application/x-bzip2", c = "text/plain" .. text, css = "text/css" .. text,
  csv = "text/csv" .. text, deb = "application/vnd.debian.binary-package",
  doc = "application/msword", eot = "application/vnd.ms-fontobject",
  epub = "application/epub+zip", flac = "audio/flac", gif = "image/gif",
  gz = "application/gzip", htm = "text/html" .. text, html = "text/html" .. text,
  ico = "image/x-icon", ics = "text/calendar" .. text, iso = "application/octet-stream",
  jar = "application/java-archive", jpeg = "image/jpeg", jpg = "image/jpeg",
  js = "text/javascript" .. text, json = "application/json",
  jsonl = "application/jsonl", jsonld = "application/ld+json", jxl = "image/jxl",
  log = "text/plain" .. text, lua = "text/plain" .. text, m4a = "audio/mp4",
  m4v = "video/mp4", map = "application/json", md = "text/markdown" .. text,
  mid = "audio/midi", mjs = "text/javascript" .. text, mov = "video/quicktime",
  mp3 = "audio/mpeg", mp4 = "video/mp4", mpeg = "video/mpeg", oga = "audio/ogg",
  odt = "application/vnd.oasis.opendocument.text", ogg = "audio/ogg",
  ogv = "video/ogg", opus = "audio/ogg", otf = "font/otf", pdf = "application/pdf",
  png = "image/png", rss = "application/rss+xml", rtf = "application/rtf",
  svg = "image/svg+xml" .. text, svgz = "image/svg+xml", tar = "application/x-tar",
  tif = "image/tiff", tiff = "image/tiff", ts = "video/mp2t", ttf = "font/ttf",
  txt = "text/plain" .. text, wasm = "application/wasm", wav = "audio/wav",
  weba = "audio/webm", webm = "video/webm", webmanifest = "application/manifest+json",
  webp = "image/webp", woff = "font/woff", woff2 = "font/woff2",
  xhtml = "application/xhtml+xml", xml = "application/xml", xz = "application/x-xz",
  yaml = "application/yaml", yml = "application/yaml", zip = "application/zip",
  zst = "application/zstd",
  docx = "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
  ods = "application/vnd.oasis.opendocument.spreadsheet",
  xlsx = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}

function M.of(path)
  local extension = path:match("%.([%w]+)$")
  return extension and types[extension:lower()] or "application/octet-stream"
end

return M
