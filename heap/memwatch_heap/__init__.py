"""Heap graphs: read, dominate, measure, diff, explain."""
