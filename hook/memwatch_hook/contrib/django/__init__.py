"""For Django: `memwatch_hook.contrib.django` in INSTALLED_APPS starts the hook.

`memwatch_hook.contrib.django.middleware.MemwatchMiddleware`, first in MIDDLEWARE, watches requests.
"""
