"""Tests of the engine on Redis."""
