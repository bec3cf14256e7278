"""Pools take tasks from a queue and have them run: by threads, or by child processes."""
