"""Talks to an echo with Debian's python3-websockets: client.py URL TOKEN"""

import asyncio
import sys

import websockets


async def talk(url, token):
    async with websockets.connect(f"{url}?access_token={token}", subprotocols=["one", "two"]) as socket:
        print("protocol", socket.subprotocol)
        await socket.send("hello")
        print("text", await socket.recv())
        await socket.send(bytes([0, 255]))
        print("binary", (await socket.recv()).hex())
        await socket.send(["one ", "two ", "three"])
        print("fragments", await socket.recv())
        await (await socket.ping())
        print("pong")
        await socket.send("close")
        await socket.wait_closed()
        print("closed", socket.close_code, socket.close_reason)


asyncio.run(asyncio.wait_for(talk(*sys.argv[1:]), 20))
