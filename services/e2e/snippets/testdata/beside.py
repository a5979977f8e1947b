"""Runs a program as prelude.mjs does: beside.py FILE"""

import asyncio
import os
import random
import runpy
import sys
import time
import types

import urllib.request
import websockets


def like(module, **changed):
    """A module of the program's own: what it imports otherwise keeps the true one."""
    other = types.ModuleType(module.__name__)
    other.__dict__.update({**module.__dict__, **changed})
    sys.modules[module.__name__] = other


async def sleep(seconds):
    with open(os.environ["WAITS"], "a") as waits:
        print(round(seconds * 1000), file=waits)


def now():
    with open(os.environ["CLOCK"]) as clock:
        return float(clock.read())


websockets.connect, websockets.ConnectionClosed, websockets.InvalidHandshake  # imported when named
like(asyncio, sleep=sleep)
like(random, uniform=lambda a, b: (a + b) / 2)
like(time, monotonic=now)
runpy.run_path(sys.argv[1], run_name="__main__")
