"""A deque that is filled but never read."""
# truth: {"verdict": "leaking", "holder": "outbox", "kind": "deque", "class": "Mail", "per_unit": 2, "at": "def __init__"}

import collections

from harness import serve


class Mail:
    __slots__ = ("text",)

    def __init__(self, text):
        self.text = text


outbox = collections.deque()


def handle(number):
    outbox.append(Mail(f"order {number} received"))
    outbox.append(Mail(f"order {number} sent"))


serve(handle)
