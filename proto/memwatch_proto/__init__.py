"""The contracts of memwatch: `memwatch.v1` and what both ends of a call need of it."""

__version__ = "0.1.0"
