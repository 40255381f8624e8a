"""Profiles: recorded through agents, kept in the store, turned into reports."""
