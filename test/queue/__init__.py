"""Tests of the engines: one contract, one model."""
