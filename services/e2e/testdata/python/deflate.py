"""Talks to an echo behind the gateway with permessage-deflate and Debian's python3-websockets:
deflate.py serve, or deflate.py URL, as deflate.mjs does."""

import asyncio
import json
import sys

import websockets


async def echo(socket, path=None):
    async for message in socket:
        await socket.send(message)


async def serve():
    async with websockets.serve(echo, "127.0.0.1", 0) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def text(n):
    return f"message {n}: " + "the same in all of them " * 100


async def talk(url):
    sent = following = dropped = after = 0
    async with websockets.connect(url) as socket:

        async def send():
            nonlocal sent
            while True:
                for _ in range(5):
                    await socket.send(text(sent))
                    sent += 1
                await asyncio.sleep(0.05)

        sending = asyncio.create_task(send())
        while after <= 3:
            message = await socket.recv()
            if message.startswith('{"error"'):
                dropped += json.loads(message)["error"]["dropped"]
                continue
            while following < sent and text(following) != message:
                following += 1
            if following == sent:
                raise ValueError(f"garbled: {message}")
            following += 1
            after += dropped > 0
        sending.cancel()
        extensions = ", ".join(e.name for e in (getattr(socket, "extensions", None) or socket.protocol.extensions))
    print(f"{extensions}: some dropped, others as they were sent, closed {socket.close_code}")


asyncio.run(asyncio.wait_for(serve() if sys.argv[1] == "serve" else talk(sys.argv[1]), 30))
