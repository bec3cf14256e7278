"""Tests of pools of processes."""
