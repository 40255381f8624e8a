"""Errors kept with their tracebacks, and so with every local of their frames."""
# truth: {"verdict": "leaking", "holder": "errors", "kind": "list", "class": "OrderError", "per_unit": 1, "at": "def handle"}

from harness import serve


class OrderError(Exception):
    pass


errors = []


def charge(number):
    order = {"number": number, "items": [f"item {number}"] * 3}
    raise OrderError(f"cannot charge {order['number']}")


def handle(number):
    try:
        charge(number)
    except OrderError as error:
        errors.append(error)


serve(handle)
