"""Snapshots on their way in and out: from agents, from uploads, to whoever downloads them."""
