"""Programs without a server: `matrix_script.py KIND`; each keeps 321 orders and says "ready"."""

import asyncio
import multiprocessing
import os
import sys
import threading
import time

import matrix_app

KEPT = matrix_app.ORDERS


def plain():
    ready()


def ends():
    ready()
    while not os.path.exists(os.path.join(os.environ["MATRIX_FOLDER"], "end")):
        time.sleep(0.02)
    sys.exit(0)


def threads():
    for _ in range(200):
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    ready()


def recursion():
    sys.setrecursionlimit(30_000)
    threading.stack_size(256 << 20)

    def down(left):
        mine = Marker()
        if left:
            down(left - 1)
        else:
            ready()
        return mine

    threading.Thread(target=down, args=(5_000,), daemon=True).start()


class Marker:
    pass


def numpy():
    import numpy

    keep.append([numpy.zeros(100_000) for _ in range(50)])
    ready()


def grpc():
    from concurrent import futures

    import grpc

    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_insecure_port("127.0.0.1:0")
    server.start()
    keep.append(server)
    ready()


def serve_http(loop_factory=None):
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        body = str(os.getpid()).encode()
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    async def main():
        server = await asyncio.start_server(answer, "127.0.0.1", int(sys.argv[2]))
        ready()
        async with server:
            await server.serve_forever()

    if loop_factory is None:
        asyncio.run(main())
    else:
        loop_factory().run_until_complete(main())


def uvloop():
    import uvloop

    serve_http(uvloop.new_event_loop)


def children(method):
    context = multiprocessing.get_context(method)
    workers = [context.Process(target=work, daemon=True) for _ in range(2)]
    for worker in workers:
        worker.start()
    ready()


def work():
    time.sleep(600)


def ready():
    print("ready", flush=True)


keep = []
KINDS = {
    "asyncio": serve_http,
    "uvloop": uvloop,
    "fork": lambda: children("fork"),
    "spawn": lambda: children("spawn"),
    "forkserver": lambda: children("forkserver"),
}
if __name__ == "__main__":
    KINDS.get(sys.argv[1], globals().get(sys.argv[1]))()
    time.sleep(600)
