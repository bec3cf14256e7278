"""Pools: they take tasks, run them on their workers, and settle them."""
