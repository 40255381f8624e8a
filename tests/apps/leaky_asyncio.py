"""The leaking Python service on asyncio: the same routes as leaky_python.py, one event loop.

python leaky_asyncio.py PORT
"""

import asyncio
import json
import sys
import urllib.parse

REPORT_CACHE = {}


class LeakedReport:
    """What leaks."""

    def __init__(self, number):
        self.number = number
        self.title = f"report {number}"


async def answer(reader, writer):
    """Answers one request and closes."""
    request = (await reader.readline()).decode("latin-1").split()
    while (await reader.readline()).strip():
        pass
    url = urllib.parse.urlsplit(request[1])
    if url.path == "/leak":
        for _ in range(int(urllib.parse.parse_qs(url.query)["n"][0])):
            REPORT_CACHE[len(REPORT_CACHE)] = LeakedReport(len(REPORT_CACHE))
    body = json.dumps({"leaked": len(REPORT_CACHE)}).encode()
    writer.write(b"HTTP/1.0 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
    await writer.drain()
    writer.close()


async def main():
    """Serves until it is stopped."""
    server = await asyncio.start_server(answer, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
