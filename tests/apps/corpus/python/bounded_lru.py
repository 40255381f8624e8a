"""functools.lru_cache with a bound, full of ever new entries."""
# truth: {"verdict": "not leaking"}

import functools

from harness import serve


class Page:
    def __init__(self, path):
        self.html = f"<h1>{path}</h1>"


@functools.lru_cache(maxsize=80)
def render(path):
    return Page(path)


serve(lambda number: render(f"/page/{number}"))
