"""A cache of two generations: when the young one is full it replaces the old one, whole."""
# truth: {"verdict": "not leaking"}

from harness import serve


class Entry:
    def __init__(self, number):
        self.text = f"entry {number}"


young, old = {}, {}


def handle(number):
    global young, old
    young[number] = Entry(number)
    if len(young) >= 60:
        young, old = {}, young


serve(handle)
