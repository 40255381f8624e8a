"""A pool that opens its connections on first use and keeps them."""
# truth: {"verdict": "not leaking", "two": "growing, not sure", "warm": 5}

from harness import serve


class Connection:
    def __init__(self, number):
        self.buffer = bytearray(512)
        self.name = f"connection {number}"


pool = []


def handle(number):
    if len(pool) < 60:
        pool.append(Connection(number))
    return pool[number % len(pool)]


serve(handle)
