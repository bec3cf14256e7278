"""Tests of the pools: one contract."""
