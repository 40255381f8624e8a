"""Finds leaks in what the agent has sampled: figures in, findings out. Pure."""
