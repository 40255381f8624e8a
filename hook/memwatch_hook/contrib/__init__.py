"""Middleware for web frameworks; each module needs its own framework and nothing else."""
