"""Shows tokens with Debian's python3-websockets: places.py, as places.mjs does."""

import asyncio
import json
import os

import websockets

HEADERS = "additional_headers" if int(websockets.__version__.split(".")[0]) >= 14 else "extra_headers"


async def show(name, url, protocols=None, headers=None, first=None):
    headers = headers or {}
    origin = headers.pop("Origin", None)
    try:
        async with websockets.connect(url, subprotocols=protocols, origin=origin, **{HEADERS: headers}) as socket:
            if first:
                await socket.send(first)
            await socket.send("hello")
            print(f"{name}: [{socket.subprotocol or ''}] {await socket.recv()}")
    except websockets.ConnectionClosed:
        print(f"{name}: closed {socket.close_code}")


async def main():
    for socket in json.loads(os.environ["SOCKETS"]):
        await asyncio.wait_for(show(**socket), 20)


asyncio.run(main())
