"""The leaking Python service as a WSGI app, for gunicorn; its answers name the pid.

gunicorn --bind 127.0.0.1:PORT leaky_wsgi:app
"""

import json
import os
import urllib.parse

REPORT_CACHE = {}


class LeakedReport:
    """What leaks."""

    def __init__(self, number):
        self.number = number
        self.title = f"report {number}"


def app(environ, start_response):
    """Answers one request."""
    if environ["PATH_INFO"] == "/leak":
        for _ in range(int(urllib.parse.parse_qs(environ["QUERY_STRING"])["n"][0])):
            REPORT_CACHE[len(REPORT_CACHE)] = LeakedReport(len(REPORT_CACHE))
    body = json.dumps({"leaked": len(REPORT_CACHE), "pid": os.getpid()}).encode()
    start_response("200 OK", [("content-type", "application/json")])
    return [body]
