"""What the Python hook and its middleware cost a web service: CPU time and wall time per request.

    python -m bench python_web [--requests 3000] [--rounds 5]

A Django and a Flask application are called in one process through WSGI, without sockets, in turn:
plain, with the hook's thread, and with hook and middleware, each in a process of its own; medians
over the rounds. Requests are small on purpose: what is added shows most there.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]

PROGRAM = """
import io, json, os, resource, sys, time
kind, way, count = sys.argv[1], sys.argv[2], int(sys.argv[3])

def flask_app():
    import flask
    app = flask.Flask("bench")
    app.add_url_rule("/orders/<int:number>", "order", lambda number: f"order {number}" * 20)
    if way == "middleware":
        from memwatch_hook.contrib.wsgi import MemwatchMiddleware
        app.wsgi_app = MemwatchMiddleware(app.wsgi_app)
    return app

def django_app():
    import django
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse
    from django.urls import path
    module = type(sys)("bench_urls")
    module.urlpatterns = [
        path("orders/<int:number>", lambda request, number: HttpResponse(f"order {number}" * 20))
    ]
    sys.modules["bench_urls"] = module
    ours = ["memwatch_hook.contrib.django.middleware.MemwatchMiddleware"]
    settings.configure(ROOT_URLCONF="bench_urls", ALLOWED_HOSTS=["*"],
                       MIDDLEWARE=ours if way == "middleware" else [])
    django.setup()
    return get_wsgi_application()

app = {"flask": flask_app, "django": django_app}[kind]()
environ = {
    "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/orders/5", "QUERY_STRING": "",
    "SERVER_NAME": "bench", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1",
    "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.errors": sys.stderr,
    "wsgi.multithread": False, "wsgi.multiprocess": True, "wsgi.run_once": False,
}

def serve(times):
    for _ in range(times):
        body = app({**environ, "wsgi.input": io.BytesIO()}, lambda *_: None)
        b"".join(body)
        if hasattr(body, "close"):
            body.close()

serve(300)
rss = int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE")
before, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
serve(count)
wall = time.perf_counter() - wall
after = resource.getrusage(resource.RUSAGE_SELF)
cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
print(json.dumps({"cpu": cpu / count * 1e6, "wall": wall / count * 1e6, "rss": rss}))
"""
WAYS = ("plain", "hook", "middleware")


def measured(kind: str, way: str, count: int, folder: str) -> dict[str, float]:
    """One process: CPU and wall microseconds a request, and its RSS."""
    hook = f"{ROOT / 'hook/bootstrap'}:{ROOT / 'hook'}"
    env = {**os.environ, "MEMWATCH_HOOK_DIR": folder}
    env["PYTHONPATH"] = "" if way == "plain" else hook
    command = [sys.executable, "-c", PROGRAM, kind, way, str(count)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=3_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    print(f"load {os.getloadavg()[0]:.1f}, {options.rounds} rounds of {options.requests} requests")
    print("| app | | CPU µs/request | × plain | requests/s of one core | RSS MiB |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="mwb") as folder:
        for kind in ("django", "flask"):
            rows: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
            for _ in range(options.rounds):
                for way in WAYS:
                    rows[way].append(measured(kind, way, options.requests, folder))
            plain = statistics.median(row["cpu"] for row in rows["plain"])
            for way in WAYS:
                cpu = statistics.median(row["cpu"] for row in rows[way])
                rss = statistics.median(row["rss"] for row in rows[way]) / 1048576
                row = (f"{cpu:.1f}", f"{cpu / plain:.3f}", f"{1e6 / cpu:,.0f}", f"{rss:.1f}")
                print(f"| {kind} | {way} | {' | '.join(row)} |")


if __name__ == "__main__":
    main(sys.argv[1:])
