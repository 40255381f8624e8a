"""functools.cache on a function whose arguments are never the same twice."""
# truth: {"verdict": "leaking", "holder": "render", "kind": "lru_cache", "class": "Page", "per_unit": 1, "at": "def __init__"}

import functools

from harness import serve


class Page:
    def __init__(self, path):
        self.html = f"<h1>{path}</h1>"


@functools.lru_cache(maxsize=None)
def render(path):
    return Page(path)


serve(lambda number: render(f"/page/{number}"))
