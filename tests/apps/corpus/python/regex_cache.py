"""Ever new patterns through the bounded cache of `re`, filled before the first snapshot."""
# truth: {"verdict": "not leaking", "warm": 600}

import re

from harness import serve


def handle(number):
    return re.search(f"a{number}", "b")


serve(handle)
