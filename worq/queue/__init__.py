"""Engines: queue and result store in one, for ids and bytes. `base` is their contract."""
