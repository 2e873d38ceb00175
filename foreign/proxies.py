"""The snippets of deploy/ with the real nginx and Caddy: WebSockets stay open, addresses are told.

Run by `cargo xtask test --only foreign`; HEARTWIRE_BIN names the server. A proxy that is not
installed is named and left out, unless HEARTWIRE_PROXIES says that it has to be there.
"""

import asyncio
import contextlib
import os
import pathlib
import shutil
from socket import create_connection, socket as new_socket
import subprocess
import sys
import tempfile
import time

import websockets

from peer import connect, follows, received
from server import PATIENCE_S, QUICK, Heartwire

DEPLOY = pathlib.Path(__file__).parent.parent / "deploy"
KEY = "for-this-test-alone"
# What nginx allows between two reads; the snippet's two minutes would be too long to wait for.
READ_TIMEOUT_S = 6
# Where the client dials from: it is no proxy's address.
CLIENT = "127.0.0.5"


def free_port():
    with new_socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def replaced(text, pairs):
    for old, new in pairs:
        assert text.count(old) == 1, f"{old!r} stands in the snippet {text.count(old)} times"
        text = text.replace(old, new)
    return text


def nginx(folder, port, upstream):
    snippet = replaced(
        (DEPLOY / "nginx.conf").read_text(),
        [
            ("server 127.0.0.1:7070;", f"server {upstream};"),
            ("    listen 80;", f"    listen 127.0.0.1:{port};"),
            ("proxy_read_timeout 120s;", f"proxy_read_timeout {READ_TIMEOUT_S}s;"),
        ],
    )
    paths = "".join(
        f"{name}_temp_path {folder}/{name};\n"
        for name in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    )
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/errors.log;\n"
        f"events {{}}\nhttp {{ access_log off;\n{paths}{snippet}}}\n"
    )
    return ["nginx", "-p", str(folder), "-c", str(config)]


def caddy(folder, port, upstream):
    snippet = replaced(
        (DEPLOY / "Caddyfile").read_text(),
        [("rt.example {", f"http://127.0.0.1:{port} {{"), ("127.0.0.1:7070 {", f"{upstream} {{")],
    )
    config = folder / "Caddyfile"
    config.write_text("{\n\tadmin off\n\tauto_https off\n}\n" + snippet)
    return ["caddy", "run", "--config", str(config), "--adapter", "caddyfile"]


@contextlib.contextmanager
def proxy(make, upstream):
    """The proxy's base URL, once it listens."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = make(pathlib.Path(folder), port, upstream)
        environment = {**os.environ, "HOME": folder, "XDG_DATA_HOME": folder, "XDG_CONFIG_HOME": folder}
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        try:
            wait_for(port)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


def wait_for(port):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise AssertionError("the proxy does not listen")


def dial(address):
    return connect(
        f"ws://{address}/websocket?task=1",
        ping_interval=None,
        local_addr=(CLIENT, 0),
        # Somebody who lies about where they come from.
        additional_headers={"X-Forwarded-For": "198.51.100.9"},
    )


async def stays_open(make):
    """A client that says nothing outlives the proxy's patience, as the server's heartbeat does not."""
    flags = [*QUICK, "--trusted-proxy", "127.0.0.1"]
    with Heartwire(*flags, key=KEY) as server, proxy(make, server.address) as address:
        async with dial(address) as socket:
            await follows(socket)
            listed = (await server.ask("/v1/connections"))["connections"]
            assert [one["address"].split(":")[0] for one in listed] == [CLIENT], listed
            await asyncio.sleep(2 * READ_TIMEOUT_S)
            await server.ask("/v1/topics/task:1", "through", at=f"http://{address}")
            assert await received(socket) == "through"


async def is_cut(make):
    """The same with a heartbeat that is slower than the proxy's patience: it matters."""
    flags = ["--heartbeat-interval", "60s", "--trusted-proxy", "127.0.0.1"]
    with Heartwire(*flags, key=KEY) as server, proxy(make, server.address) as address:
        async with dial(address) as socket:
            try:
                await received(socket)
                raise AssertionError("something came")
            except websockets.ConnectionClosed:
                pass


async def main():
    needed = os.environ.get("HEARTWIRE_PROXIES", "").split()
    for make, tests in [(nginx, [stays_open, is_cut]), (caddy, [stays_open])]:
        name = make.__name__
        if not shutil.which(name):
            if name in needed:
                sys.exit(f"{name} is missing: install it (apt-get install {name})")
            print(f"not run: {name} is not installed")
            continue
        for test in tests:
            await test(make)
            print(f"ok {name} {test.__name__}", flush=True)


asyncio.run(main())
