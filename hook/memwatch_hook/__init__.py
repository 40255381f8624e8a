"""The memwatch hook for CPython 3.9–3.14: standard library only, never breaks the app."""

__version__ = "0.1.0"
