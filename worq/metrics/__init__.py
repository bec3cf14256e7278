"""Metrics for Prometheus, and a number for whoever scales pools; it needs ``WorQ[prometheus]``.

In a program that has a registry of its own::

    REGISTRY.register(worq.metrics.Collector(broker))

Without one, `serve` is a small web server; ``worq metrics --serve`` is that.
"""
from worq.metrics.collector import Collector
from worq.metrics.scale import Scale, scale
from worq.metrics.server import Server, serve, text

__all__ = ['Collector', 'Scale', 'Server', 'scale', 'serve', 'text']
