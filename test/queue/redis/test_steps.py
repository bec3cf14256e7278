"""What is too long for one step of Redis is done in several."""
from __future__ import annotations

from typing import Any, Callable

from test.queue.contract import message, outcome, steps
from test.queue.redis.test_details import Case
from test.support import eq_, eventually
from worq import const
from worq.queue import base
from worq.queue.base import Argument, Delivery, Message, Outcome


class Steps(Case):
    """What is too long for one step is done in several, and meanwhile answers are true."""

    def put(self, *messages: Message) -> None:
        for step in steps(messages):
            eq_(self.q.put(step), [])

    def take_all(self) -> list[str]:
        ids: list[str] = []
        while found := self.q.take('p', 1000):   # fewer at a time if they have arguments
            ids += [d.id for d in found]
        return ids

    def ticks(self) -> None:
        """Ticks until no work is left over."""
        def left() -> object:
            self.client.hdel(self.key('m'), 'tick')   # so the next tick need not be waited for
            self.q.beat('p')
            return self.client.hget(self.key('m'), 'more')
        eventually(left, None)

    def commands(self, call: Callable[[], Any]) -> int:
        """How many commands Redis runs for a call: nobody else uses it meanwhile."""
        def count() -> int:
            stats = self.client.info('commandstats')
            return sum(one['calls'] for name, one in stats.items() if name != 'cmdstat_info')
        before = count()
        call()
        return count() - before

    def test_fan_in(self) -> None:
        """A task of 10,000 arguments is built, released by the last one, and gets them all;
        and none of the steps is long."""
        n, step = 10_000, const.PUT_LIMIT
        ids = [f'{i}' for i in range(n)]
        gate, wide = message('gate', flags=base.GATE), message('all', *ids[:step])
        self.q.put([gate])
        for start in range(0, n, step):
            eq_(self.q.put([message(id) for id in ids[start:start + step]], 'gate'), [])
        eq_(self.q.put([wide], 'gate'), [])
        for start in range(step, n, step):
            edges = [Argument(id, '') for id in ids[start:start + step]]
            eq_(self.q.edges('gate', 'all', wide.nonce, start, edges), [])
        open_gate = [Outcome('gate', f'{gate.nonce}1'.encode(), 'value')]
        self.assertLess(self.commands(lambda: self.q.settle('gate', open_gate)), 10 * const.BUDGET)
        self.ticks()
        for _ in range(0, n, step):
            self.q.settle('p', [outcome(d) for d in self.q.take('p', step)])
        self.ticks()
        [[_, *_, arguments, _]], _ = self.q._run('take', 'x', 1, const.LEASE)
        eq_(arguments, n)   # a script does not answer with all of them, only how many
        self.q.reconcile('x', [])
        taken: list[Delivery] = []
        # Past Lua: a few commands for each thousand, and one for each outcome.
        self.assertLess(self.commands(lambda: taken.extend(self.q.take('p', 1))), 1.1 * n)
        eq_([id for id, _ in taken[0].arguments], ids)
        done = [outcome(taken[0])]
        self.assertLess(self.commands(lambda: self.q.settle('p', done)), 10 * const.BUDGET)
        self.ticks()
        eq_(self.q.audit(), [])
        self.assertGreater(self.client.ttl(self.key('t:0')), 0)

    def test_fan_out_of_lost_pins(self) -> None:
        """An outcome stays until all are told of it, though others have deleted the count of those
        who need it."""
        n = 5 * const.BUDGET
        self.put(message('one'), *(message(f'{i}', 'one') for i in range(n)))
        self.q.settle('p', [outcome(d) for d in self.q.take('p', 1)])
        self.client.hdel(self.key('t:one'), 'i')
        self.q.settle('p', [outcome(d) for d in self.q.take('p', 1)])
        self.assertGreater(self.client.llen(self.key('d:one')), const.BUDGET)
        eq_(self.client.ttl(self.key('t:one')), -1)
        self.ticks()
        self.assertGreater(self.client.ttl(self.key('t:one')), 0)

    def test_fan_in_outcomes(self) -> None:
        """Arguments that are too many for the script are fetched, in their order."""
        ids = [f'{i}' for i in range(500)]
        self.put(*map(message, ids), message('all', *ids))
        deliveries = self.q.take('p', 500)
        self.q.settle('p', [outcome(d, 'value', d.id.encode()) for d in deliveries])
        self.ticks()
        last, = self.q.take('p', 1)
        eq_([(id, base.unpack(raw).data.decode()) for id, raw in last.arguments],
            list(zip(ids, ids)))

    def test_take_of_wide_tasks(self) -> None:
        """A take brings no more tasks than outcomes of arguments fit; the next brings the next."""
        ids = [f'{i}' for i in range(90)]
        self.put(*map(message, ids[:50]), *[message(id, *ids[:50]) for id in ids[50:]])
        self.q.settle('p', [outcome(d) for d in self.q.take('p', 50)])
        self.ticks()
        taken: list[Delivery] = []
        while len(taken) < 40:
            found = self.q.take('p', 40)
            eq_(0 < len(found) <= 4, True)
            taken += found
        eq_([(d.id, len(d.arguments)) for d in taken], [(id, 50) for id in ids[50:]])
        self.q.settle('p', [outcome(d) for d in taken])
        self.ticks()
        eq_(self.q.audit(), [])

    def test_many_leases(self) -> None:
        """What a pool has comes back in steps, to the front and in its order."""
        ids = [f'{i:04}' for i in range(2 * const.LEASES_LIMIT + 100)]
        self.put(*map(message, ids))
        taken: list[Delivery] = []
        def take() -> None:
            taken[:] = []
            while found := self.q.take('p', 300):
                taken.extend(found)
        for verb in ('reconcile', 'abandon'):   # a script that is not loaded is sent twice
            self.client.script_load(self.q._scripts[verb].source)
        take()
        self.put(message('new'))
        known = [d.token for d in taken[:50]]
        eq_(self.calls('evalsha', lambda: eq_(self.q.reconcile('p', known), len(ids) - 50)), 3)
        take()
        eq_([d.id for d in taken], [*ids[50:], 'new'])
        self.q.join('p', {})
        eq_(self.q._run('abandon', 'p', 'gone'), const.LEASES_LIMIT)
        eq_([*self.q.pools()], ['p'])   # who abandons may end here: another one goes on
        rest = len(ids) + 1 - const.LEASES_LIMIT
        eq_(self.calls('evalsha', lambda: eq_(self.q.abandon('p', 'gone'), rest)), 2)
        eq_(self.q.pools(), {})
        self.q.purge()
        self.ticks()
        eq_(self.q.audit(), [])

    def test_fan_out(self) -> None:
        """10,000 dependents become enqueued in bounded steps, each once, in their order."""
        ids = [f'{i}' for i in range(10_000)]
        self.q.put([message('source')])
        self.put(*[message(id, 'source') for id in ids])
        source, = self.q.take('p', 1)
        self.q.settle('p', [outcome(source)])
        self.assertLessEqual(self.q.stats()['enqueued'], 2 * const.BUDGET)
        eq_(self.client.ttl(self.key('t:source')), -1)
        self.ticks()
        eq_(self.q.stats()['enqueued'], 10_000)
        taken: list[str] = []
        while deliveries := self.q.take('p', 1000):
            taken += [d.id for d in deliveries]
            self.q.settle('p', [outcome(d) for d in deliveries])
        eq_(taken, ids)
        self.ticks()
        eq_(self.q.audit(), [])

    def calls(self, name: str, call: Callable[[], Any]) -> int:
        """How many commands of this name Redis runs for a call."""
        def count() -> int:
            stats = self.client.info('commandstats')
            return int(stats.get(f'cmdstat_{name}', {}).get('calls', 0))
        before = count()
        call()
        return count() - before

    def test_many_at_once(self) -> None:
        """Redis serves nobody else during a script, so many outcomes or cancels take several;
        and each outcome has its word."""
        ids = [f'{i}' for i in range(600)]
        self.q.put([message(id) for id in ids])
        self.put(*[message(f'{id} {id}', id) for id in ids])
        held = self.q.take('p', 600)
        outcomes = [outcome(d) for d in [*held, held[0]]]
        settled: list[str] = []
        for verb in ('settle', 'turn', 'cancel'):   # a script that is not loaded is sent twice
            self.client.script_load(self.q._scripts[verb].source)
        eq_(self.calls('evalsha', lambda: settled.extend(self.q.settle('p', outcomes))), 10)
        eq_(settled, ['ok'] * 600 + ['again'])
        eq_(self.calls('evalsha', lambda: settled.extend(self.q.turn('p', outcomes).settled)), 10)
        eq_(settled[601:], ['again'] * 601)
        eq_(self.calls('evalsha', lambda: settled.extend(
            self.q.cancel([f'{id} {id}' for id in ids]))), 4)
        eq_(settled[1202:], ['cancelled'] * 600)
        self.ticks()
        eq_(self.q.audit(), [])

    def test_same_argument(self) -> None:
        """Tasks with the same arguments are bound to them together, each to both."""
        ids = [f'{i}' for i in range(100)]
        self.q.put([message('a'), message('b')])
        self.q.settle('p', [outcome(d) for d in self.q.take('p', 1)])
        eq_(self.calls('hincrby', lambda: self.q.put(
            [message(id, 'a', 'b') for id in ids])), 2)
        self.q.settle('p', [outcome(d) for d in self.q.take('p', 1)])
        self.ticks()
        eq_(self.take_all(), ids)
        eq_(self.q.audit(), [])

    def test_order_of_leftovers(self) -> None:
        """What could not be told at once is told before what came to be told later."""
        sources = ['one', 'two', 'six']
        self.q.put([*map(message, sources)])
        wanted = [f'{source}{i}' for source in sources for i in range(2 * const.BUDGET)]
        for start in range(0, len(wanted), 300):
            self.put(*[message(id, id[:3]) for id in wanted[start:start + 300]])
        self.q.settle('p', [outcome(d) for d in self.q.take('p', 3)])
        self.ticks()
        eq_(self.take_all(), wanted)

    def test_failure_travels(self) -> None:
        """A failure reaches the last of a long chain in steps, with its first cause."""
        ids = [f'{i}' for i in range(1000)]
        self.q.put([message(ids[0])])
        self.put(*[message(id, before) for before, id in zip(ids, ids[1:])])
        first, = self.q.take('p', 1)
        self.q.settle('p', [outcome(first, 'failure', b'why')])
        eq_(self.q.status(ids[-1:]), ['pending'])
        self.ticks()
        record = base.unpack(self.q.results(ids[-1:])[0] or b'')
        eq_((record.kind, record.data), (b'f', b'why'))
        eq_(record.origin, ('0', first.token[:const.NONCE].decode()))
        eq_(self.q.audit(), [])

    def test_purge_in_steps(self) -> None:
        """After a purge of very many nothing is taken, all count as cancelled at once, an id is
        free, and what was put since stays."""
        ids = [f'{i}' for i in range(900)]
        self.q.put([message(id) for id in ids])
        self.put(*[message(f'p{id}', id) for id in ids])
        self.q.put([message(f's{id}', delay=60_000) for id in ids])
        self.q.watch('c', ids)
        eq_(self.q.purge(), 2700)
        eq_((self.q.size(), self.q.purge()), (0, 0))
        eq_(self.q.take('p', 10), [])
        eq_(set(self.q.status([*ids, 'p899', 's899'])), {'cancelled'})
        eq_(self.q.cancel(['899', 'p899']), ['completed', 'completed'])
        eq_(base.unpack(self.q.results(['s899'])[0] or b'').data,
            b'mod.func\ncancelled: the queue was purged')
        eq_(self.q.put([message('s898'), message('p898', 's898')]), [])
        self.ticks()
        eq_(self.q.status(['p898', 's898']), ['pending', 'enqueued'])
        eq_(self.q.stats()['cancelled'], 2700)
        told: list[str] = []
        eventually(lambda: told.extend(id for id, _ in self.q.wait('c', 0)) or len(told), 900)
        eq_(self.client.keys(self.key('x:*')), [])
        eq_(self.q.audit(), [])

    def test_purged_and_watched(self) -> None:
        """Who watches what was purged hears that it is cancelled, though others have deleted the
        word that work is left over."""
        ids = [f'{i}' for i in range(900)]
        self.q.put([message(id) for id in ids])
        self.q.purge()
        self.client.hdel(self.key('m'), 'more')
        eq_([id for id, _ in self.q.watch('c', ids[-3:])], ids[-3:])

    def test_tombstones(self) -> None:
        """Cancelled tasks are skipped where they stood, however many; the rest is found."""
        ids = [f'{i}' for i in range(1000)]
        self.q.put([message(id) for id in ids])
        eq_(self.q.cancel(ids[:-1]), ['cancelled'] * 999)
        eq_(self.q.stats()['enqueued'], 1)
        eq_(self.q.audit(), [])
        self.skims()
        eq_([d.id for d in self.q.take('p', 5, timeout=5)], ['999'])
        eq_(self.q.audit(), [])

    def skims(self) -> None:
        """A turn gets past some of what is cancelled and finds nothing, in a bounded step."""
        taken: list[Delivery] = []
        cost = self.commands(lambda: taken.extend(self.q.turn('p', limit=5).deliveries))
        eq_(taken, [])
        self.assertTrue(const.BUDGET < cost < 4 * const.BUDGET, cost)

    def test_tombstones_that_are_overtaken(self) -> None:
        """They are skipped, too, where what has arguments goes first."""
        ids = [f'{i}' for i in range(1000)]
        self.q.put([message('a')])
        self.q.settle('p', [outcome(d) for d in self.q.take('p', 1)])
        self.q.put([message(id) for id in ids])
        self.q.put([message('b', 'a')])
        eq_(self.q.cancel(ids), ['cancelled'] * 1000)
        taken: list[Delivery] = []
        cost = self.commands(lambda: taken.extend(self.q.turn('p', limit=5).deliveries))
        self.assertTrue(const.BUDGET < cost < 5 * const.BUDGET, cost)
        eq_([d.id for d in taken], ['b'])
        eq_(self.q.audit(), [])
        eq_(self.q.take('p', 5), [])
        eq_(self.q.audit(), [])


del Case   # it has no test of its own
