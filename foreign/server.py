"""The server under test, as a process of its own."""

import asyncio
import json
import os
import subprocess
import urllib.request

PATIENCE_S = 60
# A heartbeat that is short, but not so short that a busy machine could not answer in time.
INTERVAL_S = 1
TIMEOUT_S = 4
QUICK = ["--heartbeat-interval", f"{INTERVAL_S}s", "--heartbeat-timeout", f"{TIMEOUT_S}s"]

# Whatever proxy the environment names, it is not asked for loopback addresses.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Heartwire:
    """A server on a free port that keeps topics in memory; use it with `with`."""

    def __init__(self, *flags, key=None):
        command = [os.environ["HEARTWIRE_BIN"], "serve", "--memory", "--listen", "127.0.0.1:0"]
        if key:
            command += ["--api-key", key, "--open-websocket"]
        self.key = key
        self.process = subprocess.Popen([*command, *flags], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        self.http = line.split(" on ")[1].split(" ")[0]
        self.address = self.http.removeprefix("http://")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        code = self.process.wait(PATIENCE_S)
        self.process.stdout.close()
        assert code == 0, f"the server ended with {code}"

    def websocket(self, query=""):
        return f"ws://{self.address}/websocket{query}"

    def request(self, path, body=None, at=None):
        """The answer to a GET, or to a POST of a body."""
        url = (at or self.http) + path
        request = urllib.request.Request(url, data=body and body.encode())
        request.add_header("Content-Type", "text/plain")
        if self.key:
            request.add_header("Authorization", f"Bearer {self.key}")
        with DIRECT.open(request, timeout=PATIENCE_S) as answer:
            return json.loads(answer.read())

    async def ask(self, *arguments, **options):
        """The same, while the client goes on answering pings."""
        return await asyncio.to_thread(self.request, *arguments, **options)
