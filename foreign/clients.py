"""Somebody else's client against the server: Python's `websockets`, in plain mode and in v1.

Run by `cargo xtask test --only foreign`; HEARTWIRE_BIN names the server.
"""

import asyncio
import contextlib
import json

import websockets

from peer import connect, follows, received
from server import INTERVAL_S, PATIENCE_S, QUICK, TIMEOUT_S, Heartwire


async def frame(socket, verb):
    """The next frame with this verb; the server's pings are answered on the way."""
    while True:
        text = await received(socket)
        if text.startswith("ping"):
            header = text.split("\n")[0]
            await socket.send(header.replace("ping", "pong", 1))
        if text.split("\n")[0].split(" ")[0] == verb:
            return text


async def closed(socket):
    """The code with which the other end closes."""
    try:
        while True:
            await received(socket)
    except websockets.ConnectionClosed as end:
        return end.rcvd.code, end.rcvd.reason


async def plain_ping(server):
    async with connect(server.websocket()) as socket:
        for ping in ["ping", "ping\n", "ping\r\n"]:
            await socket.send(ping)
            assert await received(socket) == "pong"
        await asyncio.wait_for(await socket.ping(), PATIENCE_S)
        assert socket.response.headers.get("Sec-WebSocket-Extensions") is None


async def plain_messages(server):
    async with connect(server.websocket("?task=42&user=7")) as socket:
        await follows(socket)
        await server.ask("/v1/topics/task:42", "50 %")
        await server.ask("/v1/topics/user:7", "für dich")
        assert await received(socket) == "50 %"
        assert await received(socket) == "für dich"
        long = "x" * 200_000
        await server.ask("/v1/topics/task:42", long)
        assert await received(socket) == long


async def plain_inbox(server):
    async with connect(server.websocket()) as socket:
        await socket.send("I am here")
        await socket.send(b"\x00\xff")
        await socket.send(["in ", "frag", "ments"])
        await socket.send("ping")
        assert await received(socket) == "pong", "everything before it was read"
    inbox = (await server.ask("/v1/topics/inbox"))["messages"]
    assert [m.get("text", m.get("base64")) for m in inbox] == ["I am here", "AP8=", "in fragments"], inbox


async def too_large(server):
    """Too large a message is refused while it is being sent, and the rest of it is read for a while."""
    async with connect(server.websocket(), max_size=None) as socket:
        sending = asyncio.create_task(socket.send("x" * (5 << 20)))
        code, _ = await closed(socket)
        assert code == 1009, code
        with contextlib.suppress(websockets.ConnectionClosed):
            await sending


async def plain_closes(server):
    async with connect(server.websocket()) as socket:
        await socket.send('hello {"client":"3f9c2a7e51b04d68","attempt":1}')
        code, reason = await closed(socket)
        assert code == 4000 and reason.startswith("PLAIN-4"), (code, reason)
    await too_large(server)
    async with connect(server.websocket()) as socket:
        await socket.close(1000, "done")
        assert socket.protocol.close_rcvd.code == 1000


def hello(attempt=1):
    return "hello " + json.dumps({"client": "3f9c2a7e51b04d68", "attempt": attempt, "agent": "python"})


def v1(server):
    return connect(server.websocket("?task=9"), subprotocols=["heartwire.v1"])


async def v1_session(server):
    async with v1(server) as socket:
        assert socket.subprotocol == "heartwire.v1"
        await socket.send(hello())
        await socket.send("sub task:9 head")
        welcome = json.loads((await frame(socket, "welcome")).partition("\n")[2])
        assert welcome["topics"] == ["task:9"] and welcome["acked"] == 0, welcome
        await frame(socket, "subbed")
        at = await server.ask("/v1/topics/task:9", "50 %")
        header, _, payload = (await frame(socket, "msg")).partition("\n")
        assert header.split(" ")[:3] == ["msg", "task:9", str(at["offset"])] and payload == "50 %"
        await socket.send("pub inbox 1\nplease hurry")
        assert await frame(socket, "ack") == "ack 1"
        await socket.send("ping 7")
        assert await frame(socket, "pong") == "pong 7"
        cursor = f"{at['epoch']}.{at['offset']}"
    await server.ask("/v1/topics/task:9", "while it was away")
    async with v1(server) as socket:
        await socket.send(hello(attempt=2))
        await socket.send(f"sub task:9 {cursor}")
        welcome = json.loads((await frame(socket, "welcome")).partition("\n")[2])
        assert welcome["acked"] == 1, "the server knows what it has stored"
        assert (await frame(socket, "msg")).endswith("\nwhile it was away")


async def v1_closes(server):
    async with v1(server) as socket:
        await socket.send("sub task:9")
        code, reason = await closed(socket)
        assert code == 4000 and reason.startswith("HELLO-1"), (code, reason)
    async with v1(server) as older, v1(server) as newer:
        await older.send(hello(attempt=3))
        await frame(older, "welcome")
        await newer.send(hello(attempt=4))
        await frame(newer, "welcome")
        code, _ = await closed(older)
        assert code == 4009, code
    try:
        async with connect(server.websocket(), subprotocols=["heartwire.v9"]):
            raise AssertionError("an unknown version was agreed to")
    except websockets.InvalidStatus as refusal:
        assert refusal.response.status_code == 400


async def silence_is_noticed_by_neither(server):
    """A client that says nothing lives, as it answers the server's pings (RFC 6455)."""
    async with connect(server.websocket("?task=1"), ping_interval=None) as socket:
        await follows(socket)
        # Three times what would be death without an answer.
        await asyncio.sleep(3 * (INTERVAL_S + TIMEOUT_S))
        await server.ask("/v1/topics/task:1", "still there?")
        assert await received(socket) == "still there?"


async def main():
    tests = [
        plain_ping,
        plain_messages,
        plain_inbox,
        plain_closes,
        v1_session,
        v1_closes,
        silence_is_noticed_by_neither,
    ]
    for test in tests:
        with Heartwire(*QUICK) as server:
            await test(server)
        print(f"ok {test.__name__}", flush=True)


asyncio.run(main())
