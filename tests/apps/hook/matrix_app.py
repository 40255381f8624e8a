"""The same small service for every server and framework: it keeps what it made, and tells its pid.

Each entry point is made when it is asked for, so that none needs the others' packages.
"""

import os


class Order:
    def __init__(self, number):
        self.number = number


ORDERS = [Order(number) for number in range(321)]


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]


async def plain_asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})


def make_flask_app():
    import flask

    from memwatch_hook.contrib.wsgi import MemwatchMiddleware

    app = flask.Flask(__name__)
    app.add_url_rule("/", "pid", lambda: str(os.getpid()))
    app.wsgi_app = MemwatchMiddleware(app.wsgi_app)
    return app


def make_fastapi_app():
    import fastapi

    from memwatch_hook.contrib.asgi import MemwatchMiddleware

    app = fastapi.FastAPI()
    app.add_middleware(MemwatchMiddleware)
    app.add_api_route("/", lambda: os.getpid())
    return app


def make_django_app():
    import django
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application

    settings.configure(
        ROOT_URLCONF="matrix_urls",
        ALLOWED_HOSTS=["*"],
        INSTALLED_APPS=["memwatch_hook.contrib.django"],
        MIDDLEWARE=["memwatch_hook.contrib.django.middleware.MemwatchMiddleware"],
    )
    django.setup()
    return get_wsgi_application()


def __getattr__(name):
    makers = {"flask_app": make_flask_app, "fastapi_app": make_fastapi_app}
    makers["django_app"] = make_django_app
    if name not in makers:
        raise AttributeError(name)
    made = globals()[name] = makers[name]()
    return made
