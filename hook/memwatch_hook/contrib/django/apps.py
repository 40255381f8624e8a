"""The app that starts the hook with Django."""

from __future__ import annotations

from django.apps import AppConfig

import memwatch_hook


class MemwatchConfig(AppConfig):  # type: ignore[misc]
    """`memwatch_hook.contrib.django` in INSTALLED_APPS."""

    name = "memwatch_hook.contrib.django"
    label = "memwatch"
    verbose_name = "memwatch"

    def ready(self) -> None:
        """Starts the hook; does nothing where it runs already."""
        memwatch_hook.start()
