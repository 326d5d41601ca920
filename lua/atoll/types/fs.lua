---@meta atoll.fs

---Files and directories, without holding up the isolate. What fails gives nil, a message
---that names the path, and a code such as "ENOENT".
---@class atoll.fs
local fs = {}

---The whole file. One of more than max bytes (64 MiB) is refused with "ETOOLARGE".
---@async
---@param path string
---@param max? integer
---@return string? data
---@return string? message
---@return string? code
function fs.read(path, max) end

---@class atoll.fs.how
---@field append? boolean
---@field exclusive? boolean  there must be no such file yet
---@field atomic? boolean     the old file stays whole until a new one takes its place
---@field sync? boolean       on disk before it returns; atomic implies it
---@field mode? string|integer  permissions of a file that is made, "0644"

---@async
---@param path string
---@param data string|number
---@param how? atoll.fs.how
---@return true? ok
---@return string? message
---@return string? code
function fs.write(path, data, how) end

---@async
---@param path string
---@param data string|number
---@param how? atoll.fs.how
---@return true? ok
---@return string? message
---@return string? code
function fs.append(path, data, how) end

---@class atoll.fs.stat
---@field type "file"|"directory"|"link"|"fifo"|"socket"|"device"|"other"
---@field mode string  permissions, "0644"
---@field size integer
---@field uid integer
---@field gid integer
---@field ino integer
---@field dev integer
---@field nlink integer
---@field mtime number  seconds since 1970, as os.time has
---@field atime number
---@field ctime number

---@async
---@param path string
---@param options? { follow: boolean? }  false: of a link itself
---@return atoll.fs.stat? stat
---@return string? message
---@return string? code
function fs.stat(path, options) end

---@async
---@param path string
---@return boolean? exists
---@return string? message
---@return string? code
function fs.exists(path) end

---The names in a directory, in order; with types, a table { name =, type = } for each.
---@async
---@param path string
---@param options? { types: boolean? }
---@return string[]|{ name: string, type: string }[]? list
---@return string? message
---@return string? code
function fs.list(path, options) end

---@async
---@param path string
---@param options? { parents: boolean?, mode: string|integer|nil }
---@return true? ok
---@return string? message
---@return string? code
function fs.mkdir(path, options) end

---A file, a link or an empty directory; recursive: a directory with all that is in it.
---@async
---@param path string
---@param options? { recursive: boolean? }
---@return true? ok
---@return string? message
---@return string? code
function fs.remove(path, options) end

---@async
---@param from string
---@param to string
---@return true? ok
---@return string? message
---@return string? code
function fs.rename(from, to) end

---Contents and permissions of a file; the file at `to` is whole at any time.
---@async
---@param from string
---@param to string
---@return true? ok
---@return string? message
---@return string? code
function fs.copy(from, to) end

---@async
---@param path string
---@return string? path  absolute, without links and dots
---@return string? message
---@return string? code
function fs.realpath(path) end

---A new directory in directory (or $TMPDIR, or /tmp). It stays until you remove it.
---@async
---@param directory? string
---@return string? path
---@return string? message
---@return string? code
function fs.tempdir(directory) end

---A new file there, open for reading and writing; file:path() tells its name.
---@async
---@param directory? string
---@return atoll.file? file
---@return string? message
---@return string? code
function fs.tempfile(directory) end

---@async
---@param path string
---@param mode? string  "r", "w", "a"; "+" for both, "x": it must not exist
---@param options? { mode: string|integer|nil, line_max: integer? }
---@return atoll.file? file
---@return string? message
---@return string? code
function fs.open(path, mode, options) end

---An open file. Fibers that use the same one have their turns.
---@class atoll.file
local file = {}

---n bytes, fewer at the end of the file, nil at its end; a line without its end (the
---default); "some": what there is, up to n bytes (64 KiB); "all": up to n bytes (64 MiB).
---@async
---@param what? integer|"line"|"some"|"all"
---@param n? integer
---@return string? data
---@return string? message
---@return string? code
function file:read(what, n) end

---An iterator over what read(what, n) gives. Raises when reading fails.
---@param what? integer|"line"|"some"
---@param n? integer
---@return fun(): string?
function file:lines(what, n) end

---@async
---@param ... string|number
---@return true? ok
---@return string? message
---@return string? code
function file:write(...) end

---@async
---@param whence? "set"|"cur"|"end"
---@param offset? integer
---@return integer? position
---@return string? message
---@return string? code
function file:seek(whence, offset) end

---Returns when all that was written is on disk.
---@async
---@return true? ok
---@return string? message
---@return string? code
function file:sync() end

---To that length, or to where the file stands.
---@async
---@param length? integer
---@return true? ok
---@return string? message
---@return string? code
function file:truncate(length) end

---@async
---@return atoll.fs.stat? stat
---@return string? message
---@return string? code
function file:stat() end

---@return string
---@nodiscard
function file:path() end

---@async
---@return true? ok
---@return string? message
---@return string? code
function file:close() end
