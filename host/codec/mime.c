#include "codec/mime.h"

#define UTF8 "; charset=utf-8"

enum { LONGEST = 11 };

/* No pointers: they would have to be relocated at every start. */
struct row {
    char extension[LONGEST + 1], type[76];
};

/* By extension. */
static const struct row rows[] = {
    {"7z", "application/x-7z-compressed"},
    {"aac", "audio/aac"},
    {"apk", "application/vnd.android.package-archive"},
    {"apng", "image/apng"},
    {"asc", "text/plain" UTF8},
    {"atom", "application/atom+xml"},
    {"avi", "video/x-msvideo"},
    {"avif", "image/avif"},
    {"bin", "application/octet-stream"},
    {"bmp", "image/bmp"},
    {"br", "application/x-brotli"},
    {"bz2", "application/x-bzip2"},
    {"c", "text/plain" UTF8},
    {"cjs", "text/javascript" UTF8},
    {"conf", "text/plain" UTF8},
    {"cpp", "text/plain" UTF8},
    {"crt", "application/x-x509-ca-cert"},
    {"css", "text/css" UTF8},
    {"csv", "text/csv" UTF8},
    {"cur", "image/x-icon"},
    {"deb", "application/vnd.debian.binary-package"},
    {"diff", "text/plain" UTF8},
    {"dmg", "application/octet-stream"},
    {"doc", "application/msword"},
    {"docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
    {"eot", "application/vnd.ms-fontobject"},
    {"epub", "application/epub+zip"},
    {"flac", "audio/flac"},
    {"geojson", "application/geo+json"},
    {"gif", "image/gif"},
    {"glb", "model/gltf-binary"},
    {"gltf", "model/gltf+json"},
    {"gpx", "application/gpx+xml"},
    {"gz", "application/gzip"},
    {"h", "text/plain" UTF8},
    {"heic", "image/heic"},
    {"htm", "text/html" UTF8},
    {"html", "text/html" UTF8},
    {"ico", "image/x-icon"},
    {"ics", "text/calendar" UTF8},
    {"ini", "text/plain" UTF8},
    {"iso", "application/octet-stream"},
    {"jar", "application/java-archive"},
    {"jpeg", "image/jpeg"},
    {"jpg", "image/jpeg"},
    {"js", "text/javascript" UTF8},
    {"json", "application/json"},
    {"jsonl", "application/jsonl"},
    {"jsonld", "application/ld+json"},
    {"jxl", "image/jxl"},
    {"kml", "application/vnd.google-earth.kml+xml"},
    {"log", "text/plain" UTF8},
    {"lua", "text/plain" UTF8},
    {"m3u8", "application/vnd.apple.mpegurl"},
    {"m4a", "audio/mp4"},
    {"m4s", "video/iso.segment"},
    {"m4v", "video/mp4"},
    {"map", "application/json"},
    {"md", "text/markdown" UTF8},
    {"mid", "audio/midi"},
    {"midi", "audio/midi"},
    {"mjs", "text/javascript" UTF8},
    {"mkv", "video/x-matroska"},
    {"mov", "video/quicktime"},
    {"mp3", "audio/mpeg"},
    {"mp4", "video/mp4"},
    {"mpd", "application/dash+xml"},
    {"mpeg", "video/mpeg"},
    {"mpg", "video/mpeg"},
    {"odp", "application/vnd.oasis.opendocument.presentation"},
    {"ods", "application/vnd.oasis.opendocument.spreadsheet"},
    {"odt", "application/vnd.oasis.opendocument.text"},
    {"oga", "audio/ogg"},
    {"ogg", "audio/ogg"},
    {"ogv", "video/ogg"},
    {"opus", "audio/ogg"},
    {"otf", "font/otf"},
    {"patch", "text/plain" UTF8},
    {"pdf", "application/pdf"},
    {"pem", "application/x-pem-file"},
    {"png", "image/png"},
    {"ppt", "application/vnd.ms-powerpoint"},
    {"pptx",
     "application/vnd.openxmlformats-officedocument.presentationml.presentation"},
    {"ps", "application/postscript"},
    {"py", "text/x-python" UTF8},
    {"rar", "application/vnd.rar"},
    {"rpm", "application/x-rpm"},
    {"rss", "application/rss+xml"},
    {"rtf", "application/rtf"},
    {"sh", "text/x-shellscript" UTF8},
    {"sql", "application/sql"},
    {"srt", "application/x-subrip"},
    {"svg", "image/svg+xml" UTF8},
    {"svgz", "image/svg+xml"},
    {"tar", "application/x-tar"},
    {"tgz", "application/gzip"},
    {"tif", "image/tiff"},
    {"tiff", "image/tiff"},
    {"toml", "application/toml"},
    {"torrent", "application/x-bittorrent"},
    {"ts", "video/mp2t"},
    {"tsv", "text/tab-separated-values" UTF8},
    {"ttf", "font/ttf"},
    {"txt", "text/plain" UTF8},
    {"vcf", "text/vcard" UTF8},
    {"vtt", "text/vtt" UTF8},
    {"wasm", "application/wasm"},
    {"wav", "audio/wav"},
    {"weba", "audio/webm"},
    {"webm", "video/webm"},
    {"webmanifest", "application/manifest+json"},
    {"webp", "image/webp"},
    {"woff", "font/woff"},
    {"woff2", "font/woff2"},
    {"xhtml", "application/xhtml+xml"},
    {"xls", "application/vnd.ms-excel"},
    {"xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"},
    {"xml", "application/xml"},
    {"xsl", "application/xslt+xml"},
    {"xz", "application/x-xz"},
    {"yaml", "application/yaml"},
    {"yml", "application/yaml"},
    {"zip", "application/zip"},
    {"zst", "application/zstd"},
};

enum { ROWS = sizeof rows / sizeof *rows };

struct span mime_of(struct span path) {
    char name[LONGEST + 1];
    size_t n = 0, low = 0, high = ROWS;
    while (n < path.len && n <= LONGEST && path.at[path.len - 1 - n] != '.' &&
           path.at[path.len - 1 - n] != '/')
        n++;
    bool found = n && n <= LONGEST && n < path.len && path.at[path.len - 1 - n] == '.';
    for (size_t i = 0; found && i < n; i++)
        name[i] = ascii_lower(path.at[path.len - n + i]);
    name[found ? n : 0] = 0;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(name, rows[middle].extension);
        if (order == 0) return span_str(rows[middle].type);
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return SPAN("application/octet-stream");
}

static struct span without_parameters(struct span type) {
    size_t n = 0;
    while (n < type.len && type.at[n] != ';' && type.at[n] != ' ') n++;
    return span_of(type.at, n);
}

static bool is_separator(char c) {
    return c == ' ' || c == ',' || c == '\t';
}

static bool matches(struct span pattern, struct span type) {
    if (pattern.at[0] == '*') {
        size_t n = pattern.len - 1;
        return type.len >= n && span_case_eq(span_of(type.at + type.len - n, n),
                                             span_of(pattern.at + 1, n));
    }
    if (pattern.at[pattern.len - 1] == '*') {
        size_t n = pattern.len - 1;
        return type.len >= n &&
               span_case_eq(span_of(type.at, n), span_of(pattern.at, n));
    }
    return span_case_eq(pattern, type);
}

bool mime_matches(struct span patterns, struct span type) {
    const char *at = patterns.at, *end = at + patterns.len;
    type = without_parameters(type);
    while (at < end) {
        const char *from = at;
        while (at < end && !is_separator(*at)) at++;
        if (at > from && matches(span_of(from, (size_t)(at - from)), type)) return true;
        while (at < end && is_separator(*at)) at++;
    }
    return false;
}

bool mime_is_packed(struct span type) {
    static const struct span open = SPAN("image/svg+xml image/bmp image/x-icon "
                                         "image/tiff audio/wav audio/midi");
    static const struct span packed =
        SPAN("image/* audio/* video/* font/woff font/woff2 application/zip "
             "application/gzip application/zstd application/x-brotli application/x-xz "
             "application/x-bzip2 application/x-7z-compressed application/vnd.rar "
             "application/java-archive application/epub+zip application/pdf "
             "application/vnd.openxmlformats-* application/vnd.oasis.* "
             "application/vnd.debian.binary-package application/x-rpm "
             "application/vnd.android.package-archive");
    return mime_matches(packed, type) && !mime_matches(open, type);
}
