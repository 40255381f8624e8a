"""A small service that leaks on purpose: each GET /leak keeps N LeakedReport objects for ever.

They go into a module-level dict. Everything else is well behaved. Standard library only, any
CPython from 3.9 on.

    python leaky_python.py [PORT [ADDRESS]]    PORT 0 (the default) takes a free one, on loopback

    GET /          ok
    GET /leak?n=N  keeps N more (1000), answers {"leaked": total}
    GET /churn?n=N makes N objects and forgets them
    GET /stats     {"leaked": total, "rss": bytes}

Prints one line when it answers: `listening on http://127.0.0.1:PORT pid PID`.
"""

import http.server
import json
import os
import sys
import urllib.parse

#: More objects than this in one request would block the service for seconds.
MAX_PER_REQUEST = 200_000

REPORT_CACHE = {}


class LeakedReport:
    """What leaks."""

    def __init__(self, number):
        self.number = number
        self.title = f"report {number}"
        self.rows = [number, number + 1, number + 2]


def leak(count):
    """Keeps `count` more reports."""
    for _ in range(count):
        number = len(REPORT_CACHE)
        REPORT_CACHE[number] = LeakedReport(number)


def churn(count):
    """Makes `count` reports and keeps none."""
    for number in range(count):
        LeakedReport(number)


def rss_bytes():
    """Resident memory of this process; 0 where /proc does not tell."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


class Handler(http.server.BaseHTTPRequestHandler):
    """The routes of the module's docstring."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        """Answers one request."""
        url = urllib.parse.urlsplit(self.path)
        asked = urllib.parse.parse_qs(url.query).get("n", ["1000"])[0]
        count = min(int(asked), MAX_PER_REQUEST) if asked.isdigit() else 1000
        if url.path == "/leak":
            leak(count)
            self.answer(200, json.dumps({"leaked": len(REPORT_CACHE)}))
        elif url.path == "/churn":
            churn(count)
            self.answer(200, json.dumps({"leaked": len(REPORT_CACHE)}))
        elif url.path == "/stats":
            self.answer(200, json.dumps({"leaked": len(REPORT_CACHE), "rss": rss_bytes()}))
        elif url.path == "/":
            self.answer(200, "ok")
        else:
            self.answer(404, "not found")

    def answer(self, status, text):
        """Sends one line."""
        body = (text + "\n").encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):  # noqa: A002 - named by http.server
        """Says nothing: traffic is heavy in a demo."""


def main():
    """Serves until it is stopped."""
    port = int(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("PORT", "0"))
    address = sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1"
    server = http.server.ThreadingHTTPServer((address, port), Handler)
    server.daemon_threads = True
    print(f"listening on http://127.0.0.1:{server.server_address[1]} pid {os.getpid()}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
