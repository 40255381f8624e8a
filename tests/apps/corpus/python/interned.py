"""Ever new strings and names that nobody keeps, and a counter per route that is bounded."""
# truth: {"verdict": "not leaking"}

import sys

from harness import serve

counts = {}


def handle(number):
    names = [sys.intern(f"name_{number}_{n}") for n in range(20)]
    route = f"route-{number % 30}"
    counts[route] = counts.get(route, 0) + len(names)


serve(handle)
