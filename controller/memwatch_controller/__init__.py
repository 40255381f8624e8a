"""The controller: sessions, registry, store, analysis and their API."""
