"""A TCP proxy that makes a server seem far away: every answer comes so many seconds later, however many are on their way at once."""
import asyncio
import collections
import contextlib
import threading
from urllib.parse import urlsplit, urlunsplit


class Far:
    """Inside a `with` block: `url` is the server's, seen from afar; `requests` counts what it is asked by HTTP, by method."""

    METHODS = {b"GET", b"HEAD", b"PUT", b"POST", b"DELETE"}

    def __init__(self, url, seconds=0):
        self.parts, self.seconds, self.requests = urlsplit(url), seconds, collections.Counter()
        self.loop = asyncio.new_event_loop()

    def __enter__(self):
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self.connect, "127.0.0.1", 0), self.loop).result(10)
        port = server.sockets[0].getsockname()[1]
        self.url = urlunsplit(self.parts._replace(netloc=f"127.0.0.1:{port}"))
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.loop.stop)

    async def connect(self, client, answers):
        server, questions = await asyncio.open_connection(self.parts.hostname, self.parts.port)
        await asyncio.gather(self.pass_on(client, questions, 0), self.pass_on(server, answers, self.seconds))

    async def pass_on(self, source, target, seconds):
        waiting = asyncio.Queue()
        late = asyncio.create_task(self.deliver(waiting, target))
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                # A client asks the next question of a connection when the last one is answered, so that it begins what is read.
                if (method := data[:8].split(b" ", 1)[0]) in self.METHODS:
                    self.requests[method.decode()] += 1
                waiting.put_nowait((self.loop.time() + seconds, data))
        waiting.put_nowait((self.loop.time() + seconds, b""))
        await late

    async def deliver(self, waiting, target):
        with contextlib.suppress(OSError):
            while True:
                due, data = await waiting.get()
                await asyncio.sleep(max(0, due - self.loop.time()))
                if not data:
                    break
                target.write(data)
                await target.drain()
        target.close()
