"""Tests of the life of a task in Python, whatever stores it."""
