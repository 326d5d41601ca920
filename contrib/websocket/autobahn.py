#!/usr/bin/python3
"""Runs the WebSocket cases of Autobahn's test suite with Python 3 and nothing else.

    autobahn.py client DIRECTORY ws://HOST:PORT/PATH [CASE...]   against an echo server
    autobahn.py server DIRECTORY [CASE...]                       against an echo client

DIRECTORY is a checkout of crossbario/autobahn-testsuite, which is written in Python 2:
its case modules are translated into a temporary directory, with every string being one
of bytes (as Latin-1), and what they want of Autobahn is what stands here. CASE is a
prefix: "7." or "12.1.". The environment: COUNT, how many messages a case of many sends
(1000 in the original; 20), TOGETHER, how many cases run at once (30), VERBOSE.

A server prints its port first and takes /getCaseCount, /runCase?case=N and /finish.
The last line counts; the exit status says whether any failed.
"""
import asyncio
import base64
import hashlib
import importlib
import os
import re
import shutil
import struct
import sys
import tempfile
import types
import warnings
import zlib
from urllib.parse import parse_qs, urlsplit

COUNT = int(os.environ.get("COUNT", 20))
TOGETHER = int(os.environ.get("TOGETHER", 30))
VERBOSE = "VERBOSE" in os.environ
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def octets(text):
    """What a case calls a string: Latin-1, as Python 2 had it."""
    if isinstance(text, bytes):
        return text
    return bytes(text, "latin-1")


# ---- permessage-deflate, as the cases and the wire have it ----

class PerMessageDeflateOffer:
    def __init__(self, acceptNoContextTakeover=True, acceptMaxWindowBits=True,
                 requestNoContextTakeover=False, requestMaxWindowBits=0):
        self.acceptNoContextTakeover = acceptNoContextTakeover
        self.acceptMaxWindowBits = acceptMaxWindowBits
        self.requestNoContextTakeover = requestNoContextTakeover
        self.requestMaxWindowBits = requestMaxWindowBits

    def text(self):
        return ("permessage-deflate"
                + "; client_no_context_takeover" * self.acceptNoContextTakeover
                + "; client_max_window_bits" * self.acceptMaxWindowBits
                + "; server_no_context_takeover" * self.requestNoContextTakeover
                + (f"; server_max_window_bits={self.requestMaxWindowBits}"
                   if self.requestMaxWindowBits else ""))

    @staticmethod
    def parse(parameters):
        return PerMessageDeflateOffer(
            "client_no_context_takeover" in parameters,
            "client_max_window_bits" in parameters,
            "server_no_context_takeover" in parameters,
            int(parameters.get("server_max_window_bits") or 0))


class PerMessageDeflateOfferAccept:
    def __init__(self, offer, requestNoContextTakeover=False, requestMaxWindowBits=0):
        self.offer = offer
        self.no_takeover = requestNoContextTakeover
        self.bits = requestMaxWindowBits

    def text(self):
        offer = self.offer
        return ("permessage-deflate"
                + "; server_no_context_takeover" * offer.requestNoContextTakeover
                + (f"; server_max_window_bits={offer.requestMaxWindowBits}"
                   if offer.requestMaxWindowBits else "")
                + "; client_no_context_takeover" * self.no_takeover
                + (f"; client_max_window_bits={self.bits}" if self.bits else ""))


def parse_extensions(value):
    for extension in (value or "").split(","):
        name, *parameters = [part.strip() for part in extension.split(";")]
        if name == "permessage-deflate":
            yield dict((p.split("=") + [None])[:2] for p in parameters)


class Deflate:
    """Both directions of one connection."""

    def __init__(self, parameters, is_server):
        mine, theirs = ("server", "client") if is_server else ("client", "server")
        self.out_bits = max(9, int(parameters.get(mine + "_max_window_bits") or 15))
        self.in_bits = int(parameters.get(theirs + "_max_window_bits") or 15)
        self.out_fresh = mine + "_no_context_takeover" in parameters
        self.in_fresh = theirs + "_no_context_takeover" in parameters
        self.out = self.inn = None

    def pack(self, data):
        if self.out is None or self.out_fresh:
            self.out = zlib.compressobj(wbits=-self.out_bits)
        return (self.out.compress(data) + self.out.flush(zlib.Z_SYNC_FLUSH))[:-4]

    def unpack(self, data):
        if self.inn is None or self.in_fresh:
            self.inn = zlib.decompressobj(-self.in_bits)
        return self.inn.decompress(data + b"\0\0\xff\xff")


# ---- the modules that the cases import ----

class WebSocketProtocol:
    STATE_CLOSED, STATE_CONNECTING, STATE_CLOSING, STATE_OPEN = range(4)


class Utf8Validator:
    def reset(self):
        self.seen = b""

    def validate(self, text):
        data = octets(text)
        try:
            data.decode()
            return True, True, 0, 0
        except UnicodeDecodeError as error:
            unfinished = error.end == len(data) and error.reason.startswith("unexpected")
            return unfinished, False, 0, 0


def module(name, **content):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__dict__.update(content)
    return sys.modules[name]


def install_modules(data):
    module("autobahn")
    module("autobahn.websocket")
    module("autobahn.websocket.protocol", WebSocketProtocol=WebSocketProtocol)
    module("autobahn.websocket.utf8validator", Utf8Validator=Utf8Validator)
    module("autobahn.websocket.compress", PerMessageDeflateOffer=PerMessageDeflateOffer,
           PerMessageDeflateOfferAccept=PerMessageDeflateOfferAccept,
           PerMessageDeflateResponse=dict, PerMessageDeflateResponseAccept=lambda r: r)
    module("pkg_resources", resource_filename=lambda _, name: os.path.join(data, name))
    module("case_hex", b2a_hex=lambda s: octets(s).hex(),
           hexlify=lambda s: octets(s).hex())


def translate(directory, to):
    """Python 2 into 3, all strings Latin-1."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lib2to3 import refactor
        fixes = [f"lib2to3.fixes.fix_{name}"
                 for name in ("except", "has_key", "print", "raise", "unicode", "xrange")]
        tool = refactor.RefactoringTool(fixes)
    for name in os.listdir(directory):
        if not name.endswith(".py"):
            continue
        with open(os.path.join(directory, name), encoding="latin-1", newline="\n") as f:
            text = re.sub(r"coding=utf-8", "", f.read()) + "\n"
        text = str(tool.refactor_string(text, name))
        text = text.replace("(object, Case, )", "(Case, )")
        text = text.replace("len(self.payload) / self", "len(self.payload) // self")
        if name == "case6_x_x.py":
            text = re.sub(r'(chr\(\w\))\.encode\("utf-8"\)',
                          r'\1.encode("utf-8", "surrogatepass").decode("latin-1")', text)
        text = re.sub(r"\bimport (.*)\bbinascii", r"import \1case_hex as binascii", text)
        text = text.replace("from case9_9_1 import *", "") # it is in no list
        target = "cases.py" if name == "__init__.py" else name
        with open(os.path.join(to, target), "w", encoding="utf-8") as f:
            f.write(text)


def load(checkout):
    """All case classes, in order, by their numbers."""
    inside = os.path.join(checkout, "autobahntestsuite", "autobahntestsuite")
    work = tempfile.mkdtemp()
    try:
        translate(os.path.join(inside, "case"), work)
        install_modules(inside)
        sys.path.insert(0, work)
        Case = importlib.import_module("case").Case
        Case.compare = lambda self, a, b: a == b
        cases = importlib.import_module("cases").Cases
    finally:
        shutil.rmtree(work)
    for case in cases:
        case.ID = case.__name__[4:].replace("_", ".")
        if hasattr(case, "COUNT"):
            case.COUNT = min(case.COUNT, COUNT)
    return cases


# ---- the fuzzing peer ----

class Fuzzer(asyncio.Protocol):
    CLOSE_STATUS_CODE_NORMAL = 1000
    CLOSE_STATUS_CODE_PROTOCOL_ERROR = 1002
    CLOSE_STATUS_CODE_INVALID_PAYLOAD = 1007

    def __init__(self, is_server, done, case=None, url=None, find=None):
        self.loop = asyncio.get_running_loop()
        self.factory = types.SimpleNamespace(isServer=is_server)
        self.done, self.Case, self.url, self.find = done, case, url, find
        self.case = None
        self.state = WebSocketProtocol.STATE_CONNECTING
        self.connectionWasOpen = self.wasClean = False
        self.closedByMe = self.failedByMe = self.droppedByMe = False
        self.localCloseCode = self.localCloseReason = None
        self.remoteCloseCode = self.remoteCloseReason = None
        self.autoFragmentSize = 0
        self._perMessageCompress = self.trafficStats = None
        self.perMessageCompressionOffers = []
        self.perMessageCompressionAccept = None
        self.createWirelog = False
        self.txFrameStats = {}
        self.input = bytearray()
        self.message, self.opcode, self.packed = bytearray(), None, False
        self.complaint = None

    # -- the opening handshake

    def connection_made(self, transport):
        self.transport = transport
        transport.set_write_buffer_limits(high=1 << 30)
        if not self.factory.isServer:
            self.case = self.Case(self)
            parts = urlsplit(self.url)
            self.key = base64.b64encode(os.urandom(16)).decode()
            offers = ", ".join(o.text() for o in self.perMessageCompressionOffers)
            transport.write((
                f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
                "Upgrade: WebSocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {self.key}\r\nSec-WebSocket-Version: 13\r\n"
                + (f"Sec-WebSocket-Extensions: {offers}\r\n" if offers else "")
                + "\r\n").encode())

    def accept_of(self, key):
        return base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()

    def shake(self):
        end = self.input.find(b"\r\n\r\n")
        if end < 0:
            return False
        first, *lines = self.input[:end].decode("latin-1").split("\r\n")
        del self.input[:end + 4]
        fields = {}
        for line in lines:
            name, value = line.split(":", 1)
            fields[name.lower()] = value.strip()
        good = self.answer(first, fields) if self.factory.isServer \
            else self.judge(first, fields)
        if not good:
            self.transport.abort()
            return False
        self.state = WebSocketProtocol.STATE_OPEN
        self.connectionWasOpen = True
        if self.case:
            self.case.onOpen()
        return True

    def judge(self, first, fields):
        if " 101 " not in first or \
                fields.get("sec-websocket-accept") != self.accept_of(self.key):
            return False
        for parameters in parse_extensions(fields.get("sec-websocket-extensions")):
            self._perMessageCompress = Deflate(parameters, False)
        return True

    def answer(self, first, fields):
        target = urlsplit(first.split()[1])
        if target.path == "/runCase":
            self.Case = self.find(int(parse_qs(target.query)["case"][0]))
            self.case = self.Case(self)
        extension = ""
        if self.perMessageCompressionAccept:
            offers = [PerMessageDeflateOffer.parse(p) for p in
                      parse_extensions(fields.get("sec-websocket-extensions"))]
            accept = self.perMessageCompressionAccept(offers)
            if accept:
                extension = f"Sec-WebSocket-Extensions: {accept.text()}\r\n"
                parameters = next(parse_extensions(accept.text()))
                self._perMessageCompress = Deflate(parameters, True)
        self.transport.write((
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Accept: "
            f"{self.accept_of(fields['sec-websocket-key'])}\r\n{extension}\r\n").encode())
        if target.path == "/getCaseCount":
            self.loop.call_soon(self.tell_count)
        elif target.path == "/finish":
            self.loop.call_soon(self.finish)
        return True

    def tell_count(self):
        self.sendFrame(1, str(self.find(0)))
        self.sendClose(1000)

    def finish(self):
        self.sendClose(1000)
        self.done(None)

    # -- what comes

    def data_received(self, data):
        self.input += data
        if self.state == WebSocketProtocol.STATE_CONNECTING and not self.shake():
            return
        while self.state != WebSocketProtocol.STATE_CLOSED and self.frame():
            pass

    def frame(self):
        data = self.input
        if len(data) < 2:
            return False
        size, at, masked = data[1] & 127, 2, data[1] >> 7
        if size > 125:
            at += 2 if size == 126 else 8
            if len(data) < at:
                return False
            size = int.from_bytes(data[2:at], "big")
        mask = data[at:at + 4] if masked else None
        at += 4 * masked
        if len(data) < at + size:
            return False
        payload = bytes(data[at:at + size])
        fin, rsv, opcode = data[0] >> 7, data[0] >> 4 & 7, data[0] & 15
        del data[:at + size]
        if masked != self.factory.isServer:
            self.complain("masked on the wrong side")
        if mask:
            payload = mask_of(payload, bytes(mask))
        if opcode >= 8:
            self.control(opcode, payload)
            return True
        if rsv & 3 or rsv == 4 and not (self._perMessageCompress and opcode):
            self.complain("reserved bits")
        if (opcode == 0) != (self.opcode is not None):
            self.complain("fragments out of order")
        if opcode:
            self.opcode, self.packed, self.message = opcode, rsv == 4, bytearray()
        self.message += payload
        if fin:
            message, kind, self.opcode = bytes(self.message), self.opcode, None
            if self.packed:
                message = self._perMessageCompress.unpack(message)
            raw = self.Case and self.Case.ID.split(".")[0] in ("12", "13")
            self.case.onMessage(message if raw else message.decode("latin-1"), kind == 2)
        return True

    def complain(self, what):
        self.complaint = what
        self.fail()

    def control(self, opcode, payload):
        text = payload.decode("latin-1")
        if opcode == 9:
            self.sendFrame(10, text)
            self.case.onPing(text)
        elif opcode == 10:
            self.case.onPong(text)
        elif opcode == 8:
            self.remoteCloseCode = int.from_bytes(payload[:2], "big") if payload else None
            self.remoteCloseReason = payload[2:].decode()
            self.wasClean = True
            if self.state == WebSocketProtocol.STATE_OPEN:
                self.sendCloseFrame(self.remoteCloseCode, isReply=True)
            self.state = WebSocketProtocol.STATE_CLOSING
            if self.factory.isServer:
                self.transport.close()
            else: # it is for the server to drop the connection
                self.loop.call_later(10, self.drop)
        else:
            self.complain("an unknown opcode")

    def drop(self):
        if self.state != WebSocketProtocol.STATE_CLOSED:
            self.droppedByMe = True
            self.transport.abort()

    def fail(self):
        self.failedByMe = True
        self.drop()

    def connection_lost(self, _):
        self.state = WebSocketProtocol.STATE_CLOSED
        if not self.case:
            return
        self.case.onConnectionLost(self.failedByMe)
        if self.complaint:
            self.case.behavior, self.case.result = "FAILED", self.complaint
        self.done(self.case)

    # -- what the cases call

    def write(self, data, chopsize=None):
        if self.transport.is_closing():
            return
        if not chopsize:
            self.transport.write(data)
            return
        for at in range(0, len(data), chopsize):
            self.transport.write(data[at:at + chopsize])

    def sendFrame(self, opcode, payload="", fin=True, rsv=0, mask=None, payload_len=None,
                  chopsize=None, sync=False):
        data = octets(payload)
        if payload_len is not None:
            data = (data * (payload_len // max(1, len(data)) + 1))[:payload_len]
        self.txFrameStats[opcode] = self.txFrameStats.get(opcode, 0) + 1
        self.write(self.head(opcode, fin, rsv, len(data)) + self.masked(data), chopsize)

    def head(self, opcode, fin, rsv, size):
        self.mask = None if self.factory.isServer else os.urandom(4)
        self.mask_at = 0
        first, bit = fin << 7 | rsv << 4 | opcode, 0 if self.factory.isServer else 128
        if size < 126:
            head = struct.pack("!BB", first, bit | size)
        elif size < 65536:
            head = struct.pack("!BBH", first, bit | 126, size)
        else:
            head = struct.pack("!BBQ", first, bit | 127, size)
        return head + (self.mask or b"")

    def masked(self, data):
        if not self.mask:
            return data
        turn = self.mask_at % 4
        self.mask_at += len(data)
        return mask_of(data, self.mask[turn:] + self.mask[:turn])

    def sendMessage(self, payload, isBinary=False, fragmentSize=None):
        data, rsv = octets(payload), 0
        if self._perMessageCompress:
            data, rsv = self._perMessageCompress.pack(data), 4
        size = fragmentSize or self.autoFragmentSize or max(1, len(data))
        opcode = 2 if isBinary else 1
        pieces = [data[at:at + size] for at in range(0, len(data), size)] or [b""]
        for i, piece in enumerate(pieces):
            self.sendFrame(opcode, piece, i == len(pieces) - 1, rsv)
            opcode = rsv = 0

    def beginMessage(self, isBinary=False):
        self.begun = 2 if isBinary else 1

    def beginMessageFrame(self, size):
        self.write(self.head(self.begun, False, 0, size))
        self.begun = 0

    def sendMessageFrameData(self, payload):
        self.write(self.masked(octets(payload)))

    def endMessage(self):
        self.sendFrame(0, "")

    def sendClose(self, code=None, reason=None):
        if self.state == WebSocketProtocol.STATE_OPEN:
            self.sendCloseFrame(code, octets(reason or ""))

    def sendCloseFrame(self, code=None, reasonUtf8=None, isReply=False):
        payload = b"" if code is None else struct.pack("!H", code) + octets(reasonUtf8 or "")
        self.sendFrame(8, payload)
        self.closedByMe = not isReply
        self.state = WebSocketProtocol.STATE_CLOSING
        self.localCloseCode, self.localCloseReason = code, reasonUtf8

    def enableWirelog(self, enable):
        pass

    def later(self, delay, state, act):
        def run():
            if self.state != WebSocketProtocol.STATE_CLOSED:
                act()
        self.loop.call_later(delay, run)

    def continueLater(self, delay, act, tag=None):
        self.later(delay, None, act)

    def killAfter(self, delay): # it is this process that may be late
        self.later(4 * delay, None, self.fail)

    def closeAfter(self, delay):
        self.later(delay, None, self.sendClose)


def mask_of(data, mask):
    n = len(data)
    if not n:
        return b""
    key = int.from_bytes((mask * (n // 4 + 1))[:n], "big")
    return (int.from_bytes(data, "big") ^ key).to_bytes(n, "big")


# ---- running ----

class Report:
    def __init__(self):
        self.counts, self.bad = {}, []

    def add(self, case):
        good = case.behavior in ("OK", "NON-STRICT", "INFORMATIONAL") and \
            case.behaviorClose in ("OK", "INFORMATIONAL")
        word = case.behavior if good else "FAILED"
        self.counts[word] = self.counts.get(word, 0) + 1
        if not good:
            self.bad.append(case)
        if not good or VERBOSE or word == "NON-STRICT":
            print(f"{case.ID}: {case.behavior} ({case.result}), close "
                  f"{case.behaviorClose} ({case.resultClose})", flush=True)

    def end(self):
        total = sum(self.counts.values())
        words = ", ".join(f"{n} {word}" for word, n in sorted(self.counts.items()))
        print(f"autobahn: {total} cases: {words}")
        return 1 if self.bad or not total else 0


async def be_client(cases, url, report):
    loop = asyncio.get_running_loop()
    parts, gate = urlsplit(url), asyncio.Semaphore(TOGETHER)

    async def run(case):
        async with gate:
            over = loop.create_future()
            await loop.create_connection(
                lambda: Fuzzer(False, over.set_result, case, url),
                parts.hostname, parts.port)
            report.add(await over)
    await asyncio.gather(*map(run, cases))


async def be_server(cases, report):
    loop = asyncio.get_running_loop()
    over = loop.create_future()

    def find(n):
        return cases[n - 1] if n else len(cases)

    def done(case):
        if case:
            report.add(case)
        elif not over.done():
            loop.call_later(0.5, over.set_result, None)
    server = await loop.create_server(
        lambda: Fuzzer(True, done, find=find), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await over
    server.close()


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in ("client", "server"):
        sys.exit(__doc__)
    mode, checkout, *rest = sys.argv[1:]
    url = rest.pop(0) if mode == "client" else None
    cases = [case for case in load(checkout)
             if not rest or any((case.ID + ".").startswith(one) for one in rest)]
    report = Report()
    asyncio.run(be_client(cases, url, report) if url else be_server(cases, report))
    sys.exit(report.end())


main()
