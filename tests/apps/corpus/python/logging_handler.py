"""A handler is added to a logger with each request."""
# truth: {"verdict": "leaking", "holder": "log.handlers", "kind": "list", "class": "StreamHandler", "per_unit": 1}

import io
import logging

from harness import serve

log = logging.getLogger("shop")


def handle(number):
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(logging.Formatter(f"request {number}: %(message)s"))
    log.addHandler(handler)


serve(handle)
