"""Tests of pools of threads."""
