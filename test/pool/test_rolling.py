"""Pools with different tasks that are replaced under load: a call reaches one that has its task."""
from __future__ import annotations

import time

from worq import TaskSpace
from worq.pool.thread import WorkerPool

from test.broker_case import BrokerCase, on_every_queue
from test.support import eq_

ROUNDS = 4      # of a deploy: in each one a pool of either kind goes, and one of newer code comes
CALLS = 30      # of each name in each of them


def tasks(*names):
    """A space with tasks of these names, which are what they answer."""
    space = TaskSpace()
    for name in names:
        def task(n, name=name):
            time.sleep(0.001)
            return name, n
        task.__name__ = name
        space.task(task)
    return space


class RollingContract(BrokerCase):
    """On any engine."""

    def pool(self, *names):
        broker = self.broker()
        broker.expose(tasks(*names))
        pool = WorkerPool(broker, workers=2)
        pool.start()
        self.addCleanup(pool.stop)
        return pool

    def test_rolling_deploy(self):
        """While pools with different tasks come and go, under load and with names that only the
        newest have, and some of them are paused now and then, no call fails for want of its name,
        and none is done twice."""
        q = self.broker().queue()
        broker = self._brokers[0]
        old = [self.pool('a', 'both'), self.pool('b', 'both')]
        made, names = [], ['a', 'b', 'both']
        for n in range(ROUNDS):
            made += [(name, i, getattr(q, name)(i)) for i in range(CALLS) for name in names]
            if n % 2:
                broker.pause('a')
            new = [self.pool('a', 'both', f'new{n}'), self.pool('b', 'both')]
            names = ['a', 'b', 'both', f'new{n}']
            made += [(name, i, getattr(q, name)(i)) for i in range(CALLS) for name in names]
            for pool in old:
                pool.stop()
            if n % 2:
                broker.resume('a')
            old = new
            names.pop()   # who comes next has it no more, so it is to be done before
            for name, _, deferred in made[-4 * CALLS:]:
                if name == f'new{n}':
                    deferred.wait(60)
        wrong = [(name, i, found) for name, i, deferred in made
                 if (found := deferred.result(timeout=60)) != (name, i)]
        eq_(wrong, [])
        stats = broker.backend.stats()
        eq_((stats['succeeded'], stats['failed'], stats['redelivered']), (len(made), 0, 0))


on_every_queue(globals(), RollingContract, file=True)
