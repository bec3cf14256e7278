"""Tests of the engine in memory."""
