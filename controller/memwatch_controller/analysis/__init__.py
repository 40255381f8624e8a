"""Compares snapshots in worker processes, so that the controller itself stays small and alive."""
