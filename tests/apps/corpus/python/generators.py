"""Generators that were started and never finished, with all their locals."""
# truth: {"verdict": "leaking", "holder": "streams", "kind": "dict", "class": "generator", "per_unit": 1, "at": "def stream"}

from harness import serve

streams = {}


def stream(number):
    chunks = [f"chunk {chunk} of {number}" for chunk in range(4)]
    yield from chunks


def handle(number):
    streams[f"stream-{number}"] = source = stream(number)
    next(source)


serve(handle)
