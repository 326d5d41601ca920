#!/usr/bin/python3
"""Other implementations of WebSockets, to talk to: Debian's for Python.

    peers.py client NAME URL   sends all sorts of messages and expects them back
    peers.py server NAME       prints its port and sends back what comes
    peers.py names             those that are installed: websockets tornado aiohttp
"""
import asyncio
import importlib.util
import sys

TEXT = "".join(f"{i * i % 4001} \u20ac;" for i in range(20000))
MESSAGES = ["", "a", "b" * 125, "c" * 126, "d" * 65535, "e" * 65536, TEXT, TEXT, b"",
            b"\0\xff" * 60, bytes(range(256)) * 1000, "f" * 2000000]
MAX = 64 * 1024 * 1024


async def exchange(send, receive):
    for message in MESSAGES:
        await send(message)
        back = await asyncio.wait_for(receive(), 60)
        if back != message:
            sys.exit(f"sent {message[:20]!r} ({len(message)}), got {back[:20]!r}")
    for i in range(200):
        await send(f"number {i}")
    for i in range(200):
        assert await asyncio.wait_for(receive(), 60) == f"number {i}"


def announce(port):
    print(port, flush=True)


# ---- websockets ----

async def websockets_client(url):
    import websockets
    for compression in ("deflate", None):
        async with websockets.connect(url, max_size=MAX, compression=compression,
                                      subprotocols=["echo"]) as ws:
            assert ws.subprotocol == "echo"
            await exchange(ws.send, ws.recv)
            await asyncio.wait_for(await ws.ping(b"there?"), 60)
            await ws.close(1000, "that is all")
            assert ws.close_code == 1000, ws.close_code


async def websockets_server():
    import websockets

    async def echo(ws):
        async for message in ws:
            await ws.send(message)
    async with websockets.serve(echo, "127.0.0.1", 0, max_size=MAX) as server:
        announce(server.sockets[0].getsockname()[1])
        await asyncio.Future()


# ---- tornado ----

async def tornado_client(url):
    from tornado.websocket import websocket_connect
    # Not compressed: its client overlooks parameters without a value, and so keeps its
    # context where it was told not to.
    for options in (None,):
        ws = await websocket_connect(url, compression_options=options,
                                     max_message_size=MAX, subprotocols=["echo"])
        assert ws.selected_subprotocol == "echo"

        async def send(message):
            await ws.write_message(message, binary=isinstance(message, bytes))
        await exchange(send, ws.read_message)
        ws.close(1000, "that is all")
        assert await asyncio.wait_for(ws.read_message(), 60) is None
        assert ws.close_code == 1000, ws.close_code


async def tornado_server():
    from tornado import httpserver, netutil, web, websocket

    class Echo(websocket.WebSocketHandler):
        def get_compression_options(self):
            return {}

        async def on_message(self, message):
            await self.write_message(message, binary=isinstance(message, bytes))
    sockets = netutil.bind_sockets(0, "127.0.0.1")
    app = web.Application([("/", Echo)], websocket_max_message_size=MAX)
    httpserver.HTTPServer(app).add_sockets(sockets)
    announce(sockets[0].getsockname()[1])
    await asyncio.Future()


# ---- aiohttp ----

async def aiohttp_client(url):
    import aiohttp

    async def through(ws):
        async def send(message):
            if isinstance(message, bytes):
                await ws.send_bytes(message)
            else:
                await ws.send_str(message)

        async def receive():
            return (await ws.receive()).data
        await exchange(send, receive)
    async with aiohttp.ClientSession() as session:
        for compress in (15, 0):
            async with session.ws_connect(url, max_msg_size=MAX, compress=compress,
                                          protocols=["echo"]) as ws:
                assert ws.protocol == "echo"
                await through(ws)
                await ws.close(code=1000, message=b"that is all")
                assert ws.close_code == 1000, ws.close_code


async def aiohttp_server():
    from aiohttp import WSMsgType, web

    async def echo(request):
        ws = web.WebSocketResponse(max_msg_size=MAX, compress=True)
        await ws.prepare(request)
        async for message in ws:
            if message.type == WSMsgType.TEXT:
                await ws.send_str(message.data)
            elif message.type == WSMsgType.BINARY:
                await ws.send_bytes(message.data)
        return ws
    app = web.Application(client_max_size=MAX)
    app.router.add_get("/", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    announce(site._server.sockets[0].getsockname()[1])
    await asyncio.Future()


NAMES = ["websockets", "tornado", "aiohttp"]


def main():
    if sys.argv[1:] == ["names"]:
        print(*(name for name in NAMES if importlib.util.find_spec(name)))
        return
    if len(sys.argv) < 3 or sys.argv[1] not in ("client", "server") \
            or sys.argv[2] not in NAMES:
        sys.exit(__doc__)
    mode, name, *rest = sys.argv[1:]
    asyncio.run(globals()[f"{name}_{mode}"](*rest))


main()
