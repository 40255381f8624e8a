"""A small busy service to be captured again and again: `endured.py threads|asyncio PORT`.

Under gunicorn: `endured:app`. It keeps 20,000 objects from the start; requests make some that it
keeps for a while (50,000 when warm), and write to old ones.
"""

import asyncio
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

OBJECTS = 20_000
KEPT = 500  # of what requests made


class Order:
    def __init__(self, number):
        self.number = number
        self.lines = [f"line {number}", {"count": number}]
        self.seen = 0


ORDERS = [Order(number) for number in range(OBJECTS // 6)]
RECENT = {}
LOCK = threading.Lock()


def served(number):
    """The work of one request."""
    fresh = [Order(number + place) for place in range(20)]
    for order in ORDERS[number % 100 :: 100]:
        order.seen += 1
    with LOCK:
        RECENT[number % KEPT] = fresh
    return str(sum(order.number for order in fresh)).encode()


def app(environ, start_response):
    body = served(int(environ["PATH_INFO"].strip("/") or 0))
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        body = served(int(self.path.strip("/") or 0))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


async def answer(reader, writer):
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            body = served(int(head.split(b" ", 2)[1].strip(b"/") or 0))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    writer.close()


async def serve(port):
    server = await asyncio.start_server(answer, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    kind, port = sys.argv[1], int(sys.argv[2])
    if kind == "asyncio":
        asyncio.run(serve(port))
    else:
        ThreadingHTTPServer.daemon_threads = True
        ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
