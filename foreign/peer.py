"""A connection of Python's `websockets`, with the patience of all these tests."""

import asyncio
import contextlib

import websockets
from websockets.asyncio import client

from server import PATIENCE_S


@contextlib.asynccontextmanager
async def connect(url, **options):
    patience = {"open_timeout": PATIENCE_S, "close_timeout": PATIENCE_S}
    # Whatever proxy the environment names, it is not asked for loopback addresses.
    socket = await client.connect(url, proxy=None, **patience, **options)
    try:
        yield socket
    finally:
        # Closing a connection that is closed aborts its transport, and that fails in asyncio
        # if the last of what was sent left after the other end had closed (Python 3.11).
        if socket.state is not websockets.State.CLOSED:
            await socket.close()


async def received(socket):
    return await asyncio.wait_for(socket.recv(), PATIENCE_S)


async def follows(socket):
    """Waits until a plain connection is listed and follows its topics: then it is answered."""
    await socket.send("ping")
    assert await received(socket) == "pong"
