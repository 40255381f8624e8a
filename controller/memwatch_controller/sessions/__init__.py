"""Sessions: timed snapshots of one target or a fleet, as durable workflows."""
