import asyncio
{{- if and .Base64 (not .Header)}}
import base64
{{- end}}
{{- if .Needs}}
import json
import os
{{- end}}
import random
import re
import time
{{- if .Needs}}
import urllib.parse
import urllib.request
{{- end}}

import websockets

ADDRESS = {{quoted .Address}}
{{- if .Needs}}
TOKENS = {{quoted .Tokens}}
{{- end}}
SHORTEST, LONGEST = 1, 60  # seconds between attempts
{{- if and .Needs .Header}}
HEADERS = "additional_headers" if int(websockets.__version__.split(".")[0]) >= 14 else "extra_headers"
{{- end}}
{{- if .Needs}}


def new_token():
    form = {
        "grant_type": "client_credentials", "resource": ADDRESS,
        "client_id": os.environ["CLIENT_ID"], "client_secret": os.environ["CLIENT_SECRET"],
    }
    with urllib.request.urlopen(TOKENS, urllib.parse.urlencode(form).encode(), timeout=10) as answer:
        return json.load(answer)["access_token"]
{{- end}}


async def talk(socket):
    await socket.send("hello")
    async for message in socket:
        print(message, flush=True)


async def main():
    {{if .Needs}}token, {{end}}attempts = {{if .Needs}}"", {{end}}0
    while True:
        opened, code, reason = None, 1006, ""
        try:
            {{- if .Needs}}
            token = token or await asyncio.to_thread(new_token)
            {{- end}}
            {{- if not .Needs}}
            async with websockets.connect(ADDRESS) as socket:
            {{- else if .Header}}
            async with websockets.connect(ADDRESS, **{HEADERS: { {{- quoted .Header}}: f"{{.Word}}{token}"}}) as socket:
            {{- else if .Query}}
            async with websockets.connect(f"{ADDRESS}?{{.Query}}={ {{- if .Base64}}urllib.parse.quote(base64.b64encode(token.encode())){{else}}token{{end -}} }") as socket:
            {{- else if .First}}
            async with websockets.connect(ADDRESS) as socket:
            {{- else}}
            async with websockets.connect(ADDRESS, subprotocols=["bearer", token]) as socket:
            {{- end}}
                opened = time.monotonic()
                try:
                    {{- if and .First (not .Header)}}
                    await socket.send({{with .Before}}{{quoted .}} + {{end}}token{{with .After}} + {{quoted .}}{{end}})
                    {{- end}}
                    await talk(socket)
                except websockets.ConnectionClosed:
                    pass
                code, reason = socket.close_code, socket.close_reason or ""
        except (OSError, asyncio.TimeoutError, websockets.InvalidHandshake) as error:
            reason = str(error)
        print("closed:", code, reason, flush=True)
        {{- if .Needs}}
        if code == 4001 or opened is None:
            token = ""  # it may be why the handshake was refused
        {{- end}}
        if opened is not None and time.monotonic() - opened > LONGEST:
            attempts = 0
        hint = re.search(r"retry=(\d+)ms", reason)
        if code in (1000, 4006) or code == 4003 and not hint:
            return  # done, or blocked, or another connection of ours has taken the place
        if hint and code in (4003, 1012):
            await asyncio.sleep(int(hint[1]) / 1000)
        else:
            await asyncio.sleep(random.uniform(0, min(LONGEST, SHORTEST * 2**attempts)))
            attempts += 1


asyncio.run(main())
