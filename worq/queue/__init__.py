"""Backends: queue and result store in one, for ids and bytes."""
