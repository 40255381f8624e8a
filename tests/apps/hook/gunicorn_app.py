"""A WSGI application for the hook's tests: it keeps what it made, and tells its pid."""

import os


class Order:
    def __init__(self, number):
        self.number = number


ORDERS = [Order(number) for number in range(321)]


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
