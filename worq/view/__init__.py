"""A queue as people see it: what the command line, a page and metrics print."""
from worq.view.drawing import Graph
from worq.view.model import View
from worq.view.records import plain

__all__ = ['View', 'Graph', 'plain']
