"""A big table that is loaded once, on the first request after the first snapshot."""
# truth: {"verdict": "not leaking", "two": "growing, not sure", "warm": 100}

from harness import serve

table = None


def load():
    return {f"zip-{number}": {"city": f"City {number}"} for number in range(3000)}


def handle(number):
    global table
    if number >= 100 and table is None:
        table = load()


serve(handle)
