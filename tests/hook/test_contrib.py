"""The middlewares: the app's answers stay the app's, byte for byte, and its requests are told."""

import io
import itertools
import os
import pickle
import subprocess
import sys
from wsgiref.handlers import SimpleHandler
from wsgiref.util import FileWrapper

import pytest

pytest.importorskip("django", reason="no Django: run make .venv/installed")
pytest.importorskip("flask", reason="no Flask: run make .venv/installed")

import django
import flask
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse, StreamingHttpResponse
from django.test import AsyncRequestFactory, RequestFactory
from django.urls import path

from memwatch_hook import metrics
from memwatch_hook.contrib import asgi, requests, wsgi
from memwatch_hook.contrib.django import middleware as django_middleware
from tests.hook.walkers import HOOK


@pytest.fixture(autouse=True)
def store(monkeypatch):
    """A store of the test's own, and no hook in the process that runs the tests."""
    for module in (asgi, wsgi, django_middleware):
        monkeypatch.setattr(module, "start_hook", lambda: None)
    monkeypatch.setattr(metrics, "store", metrics.Store())
    return metrics.store


def told(name):
    """The series of one name, by label values."""
    family = metrics.store.families.get(name)
    return {} if family is None else dict(family.series)


# WSGI


class BrokenError(Exception):
    pass


class Closing:
    """A body that counts what the server does with it."""

    def __init__(self, parts):
        self.parts, self.closed = iter(parts), 0

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.parts)

    def close(self):
        self.closed += 1


class Sized(Closing):
    def __len__(self):
        return 1


def whole(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"all at once"]


def generated(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"one "
    yield b"two"


def sized(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return Sized([b"one part"])


def from_file(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return environ["wsgi.file_wrapper"](io.BytesIO(b"a file's bytes"))


def written(environ, start_response):
    write = start_response("201 Created", [("Content-Type", "text/plain")])
    write(b"by hand ")
    return [b"and returned"]


def failing_late(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"one "
    raise BrokenError


def failing_early(environ, start_response):
    raise BrokenError


def second_thoughts(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    try:
        raise BrokenError
    except BrokenError as cause:
        start_response("500 Oh", [("X", "y")], exc_info=(BrokenError, cause, cause.__traceback__))
    return [b"sorry"]


def odd_headers(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Twice", "1"), ("X-Twice", "2")])
    return iter((b"", b"x", b""))


APPS = [
    whole,
    generated,
    sized,
    from_file,
    written,
    failing_late,
    failing_early,
    second_thoughts,
    odd_headers,
]


def served(app, method="GET"):
    """The bytes that a plain WSGI server sends for one request."""
    out = io.BytesIO()
    environ = {"REQUEST_METHOD": method, "SERVER_PROTOCOL": "HTTP/1.0", "PATH_INFO": "/"}
    handler = SimpleHandler(io.BytesIO(), out, io.StringIO(), environ, multithread=False)
    handler.http_version = "1.0"
    handler.wsgi_file_wrapper = FileWrapper
    handler.run(app)
    return out.getvalue()


def without_ours(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.startswith((b"X-Mem", b"Date:"))]
    return lines, body


@pytest.mark.parametrize("app", APPS)
def test_wsgi_answers_are_the_app_s(app, store):
    """Status, headers but ours, length and body are as without the middleware; counted once."""
    plain = served(app)
    watched = served(wsgi.MemwatchMiddleware(app))

    assert without_ours(watched) == without_ours(plain)
    assert sum(told("requests").values()) == 1
    assert sum(row[1:] != [] for row in told("request_seconds").values()) == 1


@pytest.mark.parametrize("app", APPS)
@pytest.mark.parametrize("fault", ["begin", "headers", "end", "rss", "store"])
def test_wsgi_survives_our_own_faults(app, fault, monkeypatch):
    """Whatever breaks inside the middleware, the client sees the app's answer."""

    def broken(*_, **__):
        raise RuntimeError("ours")

    plain = served(app)
    target = {
        "begin": (requests.Request, "__init__"),
        "headers": (requests._Traffic, "look"),
        "end": (requests.Request, "_count"),
        "rss": (metrics, "rss_bytes"),
        "store": (metrics.Store, "tell_together"),
    }[fault]
    monkeypatch.setattr(*target, broken)

    assert without_ours(served(wsgi.MemwatchMiddleware(app))) == without_ours(plain)


def test_wsgi_headers_tell_the_memory(monkeypatch):
    """Memory now, growth and time so far, under a prefix that the environment chooses."""
    monkeypatch.setenv("MEMWATCH_HEADER_PREFIX", "X-RSR-")
    answer = served(wsgi.MemwatchMiddleware(whole))
    head = dict(line.split(b": ", 1) for line in answer.split(b"\r\n\r\n")[0].split(b"\r\n")[1:])

    assert int(head[b"X-RSR-Memory-Bytes"]) > 1_000_000
    assert int(head[b"X-RSR-Memory-Growth-Bytes"]) < 1_000_000_000
    assert float(head[b"X-RSR-Duration-Millis"]) >= 0


@pytest.mark.parametrize(("step", "looks"), [(0.0, 1), (0.0002, 6), (1.0, 30)])
def test_requests_of_a_millisecond_share_a_look_at_the_memory(monkeypatch, step, looks):
    """Ten requests look at it once, or three times each where they take long."""
    clock, memory = itertools.count(100.0, step), itertools.count(10_000_000, 4096)
    seen = []

    def look():
        seen.append(next(memory))
        return seen[-1]

    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    monkeypatch.setattr(metrics, "rss_bytes", look)
    monkeypatch.setattr(requests, "_traffic", requests._Traffic())
    app = wsgi.MemwatchMiddleware(whole)
    for _ in range(10):
        served(app)

    assert len(seen) == looks
    rows = told("request_memory_bytes")
    assert sum(row[0] for row in rows.values()) <= seen[-1] - seen[0]
    if step < requests.SHARED_SECONDS:
        assert sum(row[0] for row in rows.values()) == seen[-1] - seen[0]


@pytest.mark.parametrize("prefix", ["", "X Y: ", "X-\r\nSet-Cookie: a", "x" * 41])
def test_a_prefix_that_is_no_header_s_name_sends_none(monkeypatch, prefix):
    """Empty switches the headers off; what would break a response is taken for empty."""
    monkeypatch.setenv("MEMWATCH_HEADER_PREFIX", prefix)

    assert served(wsgi.MemwatchMiddleware(whole)) == served(whole)


@pytest.mark.parametrize("name", ["MEMWATCH_HOOK", "MEMWATCH_MONITORING_ENABLED"])
def test_one_variable_switches_a_middleware_off(monkeypatch, name):
    """Off: nothing is measured, nothing is sent."""
    monkeypatch.setenv(name, "off")

    assert served(wsgi.MemwatchMiddleware(whole)) == served(whole)
    assert told("requests") == {}


@pytest.mark.parametrize("kind", [Closing, Sized])
def test_wsgi_bodies_are_closed_as_the_server_closes_them(kind):
    """`close` reaches the app's body as often as the server calls it, also when it stops early."""
    body = kind([b"a", b"b"])

    def app(environ, start_response):
        start_response("200 OK", [])
        return body

    passed_on = wsgi.MemwatchMiddleware(app)({"REQUEST_METHOD": "GET"}, lambda *_: None)
    assert next(iter(passed_on)) == b"a"
    assert told("requests") == {}
    passed_on.close()
    assert body.closed == 1
    assert told("requests") == {("GET", "", "2xx"): 1.0}


def test_a_body_that_nobody_closes_is_counted_when_it_is_dropped():
    """A server that forgets `close` leaves no request running for ever."""
    passed_on = wsgi.MemwatchMiddleware(generated)({"REQUEST_METHOD": "PUT"}, lambda *_: None)
    del passed_on

    assert told("requests") == {("PUT", "", ""): 1.0}


def test_a_client_s_words_become_no_labels():
    """Methods that nobody knows are counted as one."""
    app = wsgi.MemwatchMiddleware(whole)
    for method in ("GET", "BREW", "PROPFIND"):
        served(app, method)

    assert told("requests") == {("GET", "", "2xx"): 1.0, ("other", "", "2xx"): 2.0}


def test_overlapping_requests_are_told_apart():
    """Growth that another request may share is not called one request's own."""
    app = wsgi.MemwatchMiddleware(generated)
    first = app({"REQUEST_METHOD": "GET"}, lambda *_: None)
    served(app)
    first.close()
    served(app)

    counts = {key: sum(row[1:]) for key, row in told("request_memory_bytes").items()}
    assert counts == {("", "no"): 2, ("", "yes"): 1}


def test_flask_tells_its_routes():
    """The rule, not the address, is the label."""
    app = flask.Flask(__name__)
    app.add_url_rule("/orders/<int:number>", "order", lambda number: str(number))
    app.wsgi_app = wsgi.MemwatchMiddleware(app.wsgi_app)  # type: ignore[method-assign]
    client = app.test_client()
    for number in range(3):
        answer = client.get(f"/orders/{number}")
        assert answer.data == b"%d" % number
        answer.close()
    client.get("/nowhere").close()

    assert told("requests") == {
        ("GET", "/orders/<int:number>", "2xx"): 3.0,
        ("GET", "", "4xx"): 1.0,
    }


def test_a_request_may_be_sampled(monkeypatch):
    """The sampler is asked for each request; what it gives is entered and left."""
    seen = []

    class Profile:
        def __enter__(self):
            seen.append("in")

        def __exit__(self, *_):
            seen.append("out")

    chosen = itertools.cycle([None, Profile()])
    sampler = requests._Profiles()
    sampler._looked, sampler._sample = True, lambda: next(chosen)
    monkeypatch.setattr(requests, "_profiles", sampler)
    app = wsgi.MemwatchMiddleware(generated)
    served(app)
    assert seen == []
    served(app)
    assert seen == ["in", "out"]


# ASGI


async def asgi_run(app, scope):
    """Every message that an app sends, and the fault it ends with."""
    sent, fault = [], None

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    try:
        await app(scope, receive, send)
    except Exception as cause:  # noqa: BLE001 compared with the app's own
        fault = type(cause)
    return sent, fault


async def answers(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"y")]})
    await send({"type": "http.response.body", "body": b"one", "more_body": True})
    await send({"type": "http.response.body", "body": b"two"})


async def without_headers(scope, receive, send):
    await send({"type": "http.response.start", "status": 204})
    await send({"type": "http.response.body"})


async def fails(scope, receive, send):
    raise BrokenError


async def fails_late(scope, receive, send):
    await answers(scope, receive, send)
    raise BrokenError


async def not_a_message(scope, receive, send):
    await send(["not", "a", "message"])


@pytest.mark.parametrize("app", [answers, without_headers, fails, fails_late, not_a_message])
@pytest.mark.parametrize("kind", ["http", "websocket", "lifespan"])
async def test_asgi_messages_are_the_app_s(app, kind):
    """Messages and faults are as without the middleware, but for our headers on HTTP."""
    scope = {"type": kind, "method": "GET", "path": "/"}
    plain, plain_fault = await asgi_run(app, scope)
    sent, fault = await asgi_run(asgi.MemwatchMiddleware(app), scope)

    for message in sent:
        if kind == "http" and isinstance(message, dict) and message.get("headers"):
            kept = [pair for pair in message["headers"] if not pair[0].startswith(b"x-memwatch-")]
            assert len(kept) == len(message["headers"]) - 3
            message["headers"] = kept
            if app is without_headers:
                del message["headers"]
    assert (sent, fault) == (plain, plain_fault)
    assert sum(told("requests").values()) == (kind == "http")


async def test_asgi_survives_our_own_faults(monkeypatch):
    """What breaks inside the middleware does not show."""
    plain, _ = await asgi_run(answers, {"type": "http", "method": "GET"})
    monkeypatch.setattr(requests._Traffic, "look", lambda *_: 1 / 0)
    sent, fault = await asgi_run(asgi.MemwatchMiddleware(answers), {"type": "http"})

    assert (sent, fault) == (plain, None)


async def test_asgi_tells_the_route_that_the_framework_found():
    """FastAPI leaves the route in the scope."""

    class Route:
        path = "/orders/{number}"

    async def app(scope, receive, send):
        scope["route"] = Route()
        await answers(scope, receive, send)

    await asgi_run(asgi.MemwatchMiddleware(app), {"type": "http", "method": "GET"})

    assert told("requests") == {("GET", "/orders/{number}", "2xx"): 1.0}


# Django


def plain_view(request, number):
    return HttpResponse(f"order {number}", headers={"X-Own": "1"})


def streaming_view(request):
    return StreamingHttpResponse(iter([b"one ", b"two"]))


def failing_view(request):
    raise BrokenError


async def async_view(request):
    return HttpResponse("later")


urlpatterns = [
    path("orders/<int:number>", plain_view),
    path("stream", streaming_view),
    path("fails", failing_view),
    path("later", async_view),
]
OURS = "memwatch_hook.contrib.django.middleware.MemwatchMiddleware"


@pytest.fixture(scope="module", autouse=True)
def django_settings():
    """One configuration for the process, as Django wants it."""
    if not settings.configured:
        settings.configure(ROOT_URLCONF=__name__, MIDDLEWARE=[], ALLOWED_HOSTS=["*"], DEBUG=False)
        django.setup()
    return settings


def django_served(address):
    return served_environ(WSGIHandler(), RequestFactory().get(address).environ)


def served_environ(app, environ):
    out = io.BytesIO()
    handler = SimpleHandler(io.BytesIO(), out, io.StringIO(), environ, multithread=False)
    handler.run(app)
    return out.getvalue()


@pytest.mark.parametrize("address", ["/orders/5", "/stream", "/fails", "/later", "/nowhere"])
def test_django_answers_are_the_project_s(address, django_settings, monkeypatch):
    """Sync Django: the same bytes but our headers, also for streams, faults and async views."""
    monkeypatch.setattr(django_settings, "MIDDLEWARE", [])
    plain = django_served(address)
    monkeypatch.setattr(django_settings, "MIDDLEWARE", [OURS])
    watched = django_served(address)

    assert b"X-Memwatch-Memory-Bytes: " in watched
    assert without_ours(watched) == without_ours(plain)
    [(labels, count)] = told("requests").items()
    assert count == 1
    assert labels[1] == {"/orders/5": "/orders/<int:number>", "/nowhere": ""}.get(address, address)


@pytest.mark.parametrize("address", ["/orders/5", "/later", "/fails"])
async def test_asynchronous_django_is_watched_too(address, django_settings, monkeypatch):
    """ASGI Django runs the middleware in its own loop, without a thread."""
    monkeypatch.setattr(django_settings, "MIDDLEWARE", [OURS])
    request = AsyncRequestFactory().get(address)
    response = await ASGIHandler().get_response_async(request)

    assert "X-Memwatch-Memory-Bytes" in response.headers
    response.close()
    assert sum(told("requests").values()) == 1


def test_a_response_with_our_closer_goes_into_a_cache():
    """Pickled, it ends nothing; the original still does."""
    middleware = django_middleware.MemwatchMiddleware(lambda _: HttpResponse("x"))
    response = middleware(RequestFactory().get("/"))
    closer = response._resource_closers[-1]

    pickle.loads(pickle.dumps(closer))()
    assert told("requests") == {}
    response.close()
    response.close()
    assert sum(told("requests").values()) == 1


SAMPLED = """
import os, sys, time
from memwatch_hook.contrib.wsgi import MemwatchMiddleware
def app(environ, start_response):
    start_response("200 OK", [])
    kept = [str(number) for number in range(20_000)]
    return [b"x"]
watched = MemwatchMiddleware(app)
deadline = time.monotonic() + 15
while not [name for name in os.listdir(sys.argv[1]) if not name.endswith(".sock")]:
    assert time.monotonic() < deadline
    watched({"REQUEST_METHOD": "GET"}, lambda *_: None)
    time.sleep(0.05)
print("recorded", flush=True)
"""


def test_a_sampled_request_is_recorded_by_the_hook(tmp_path):
    """With sampling on, the middleware of a real process leaves a profile in the folder."""
    env = {
        "PYTHONPATH": str(HOOK),
        "MEMWATCH_HOOK_DIR": str(tmp_path),
        "MEMWATCH_PROFILING_ENABLED": "on",
        "MEMWATCH_PROFILING_REQUEST_PROBABILITY": "1",
        "MEMWATCH_PROFILING_OUTPUT_DIR": str(tmp_path),
    }
    command = [sys.executable, "-c", SAMPLED, tmp_path]
    done = subprocess.run(
        command, env={**os.environ, **env}, capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.stdout, done.stderr) == ("recorded\n", "")
