"""Whatever programs may call says what it does, and what its options mean."""
import inspect
import re
import unittest

import worq
import worq.aio
import worq.bar
import worq.executor
import worq.info
import worq.metrics
import worq.pools
import worq.stream
import worq.testing
import worq.view
import worq.web
from worq.batch import Batch
from worq.pool import aio, process, thread
from worq.schedules.table import Schedule, Schedules

PUBLIC = [   # but for the contract of queues, whose words are explained together
    *(getattr(worq, name) for name in worq.__all__ if name != 'TaskQueue'),
    *(getattr(worq.aio, name) for name in worq.aio.__all__),
    thread.WorkerPool, process.WorkerPool, process.start_pools, aio.WorkerPool,
    worq.bar.Bar, Batch, worq.executor.Executor, worq.executor.Future, worq.executor.call,
    worq.info.Info, worq.pools.Pool, worq.pools.Worker, worq.stream.Stream, worq.testing.Bench,
    worq.view.View, worq.view.plain, worq.web.app, Schedule, Schedules,
    worq.metrics.Collector, worq.metrics.Server, worq.metrics.scale, worq.metrics.serve,
    worq.metrics.text,
]
#: Made by WorQ only, so nobody calls them with anything.
MADE = {'CurrentTask', 'Deferred', 'Progress', 'Stream', 'Batch', 'Future', 'Info', 'Pool',
        'Worker', 'Schedule', 'TaskExpired', 'TaskCancelled', 'TaskTimeout', 'DuplicateTask', 'Bar'}


def functions():
    """All functions of these, each with its name and the text that explains its parameters."""
    for thing in PUBLIC:
        name = getattr(thing, '__name__', '')
        text = inspect.getdoc(thing) or ''
        if not inspect.isclass(thing):
            if callable(thing):
                yield name, thing, text
            continue
        if name not in MADE and inspect.isfunction(thing.__init__):
            yield name, thing.__init__, text + (thing.__init__.__doc__ or '')
        for word, member in inspect.getmembers(thing):
            member = member.fget if isinstance(member, property) else member
            if not word.startswith('_') and inspect.isroutine(member) \
                    and str(getattr(member, '__module__', '')).startswith('worq'):
                yield f'{name}.{word}', member, inspect.getdoc(member) or ''


def unexplained(function, text):
    """Its options (parameters that may be left out) that the text does not name."""
    return [name for name, each in inspect.signature(function).parameters.items()
            if each.default is not each.empty and not name.startswith('_')
            and not re.search(rf'`{name}`|:param {name}:|\b{name}=', text)]


class Docstrings(unittest.TestCase):

    def test_all_have_one(self):
        """Each public object, method and property has a docstring of its own."""
        for thing in PUBLIC:
            if inspect.isclass(thing) or inspect.isroutine(thing):
                self.assertTrue(thing.__doc__, thing)
        self.assertEqual([name for name, _, text in functions() if not text], [])

    def test_options_are_explained(self):
        """Each option is named where it may be given."""
        missing = {name: found for name, function, text in functions()
                   if (found := unexplained(function, text))}
        self.assertEqual(missing, {})

    def test_it_looks(self):
        """An option that nobody has explained is found."""
        def function(one, two=2, three=3):
            """Does something with `two`."""
        self.assertEqual(unexplained(function, function.__doc__), ['three'])
