"""The engine in a file: the machine over rows, a transaction for each verb."""
from worq.queue.sqlite.install import install
from worq.queue.sqlite.queue import TaskQueue

__all__ = ['TaskQueue', 'install']
