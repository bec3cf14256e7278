"""What people look at takes Redis small steps, however much a queue holds: commands are counted."""
from __future__ import annotations

from typing import Any

from test.queue.contract import message, outcome, steps
from test.queue.redis.test_details import Case
from test.queue.redis.test_counting import FULL
from test.support import eq_
from worq import const, get_broker
from worq.queue.base import Recent

MOST = 1_500     # commands in one step; a thousand take Redis some 1 to 2 ms ...
WIDE = 5 * const.PUT_LIMIT   # ... and in that of one task of a thousand arguments, each looked up


class Looks(Case):
    """Each step of each view."""

    def setUp(self) -> None:
        super().setUp()
        self.broker = get_broker(self.url, self.name)
        self.addCleanup(self.broker.close)
        self.view = self.broker.view()
        self.steps: dict[str, list[int]] = {}   # commands of each, by the script
        backend = self.broker.backend
        run = backend._run

        def counted(verb: str, *argv: Any, **options: Any) -> Any:
            before = self.commands()
            answer = run(verb, *argv, **options)
            self.steps.setdefault(verb, []).append(self.commands() - before)
            return answer
        backend._run = counted

    def commands(self) -> int:
        """How many Redis has run, ever: nobody else uses it."""
        stats = self.client.info('commandstats')
        return sum(one['calls'] for name, one in stats.items() if name != 'cmdstat_info')

    def put(self, *messages: Any) -> None:
        for step in steps(messages):
            eq_(self.q.put(step), [])

    def check(self, *verbs: str) -> None:
        """No step since was long; each of these has had one."""
        eq_({verb: most for verb, counts in self.steps.items()
             if (most := max(counts)) > (WIDE if verb == 'inspect' else MOST)}, {})
        eq_([verb for verb in verbs if verb not in self.steps], [])
        self.steps.clear()

    def test_graph(self) -> None:
        """Of tasks with a thousand arguments, and a thousand that wait for them, live or over."""
        ids = [f'{i}' for i in range(1_000)]
        self.put(message('root'), *[message(id, 'root') for id in ids])
        wide = [f'wide{i}' for i in range(8)]
        self.put(*[message(id, *ids) for id in wide])
        self.put(message('all', *wide))
        for _ in range(2):
            for id in 'root', '500', 'wide3', 'all':
                graph = self.view.graph(id)
                assert graph is not None
                self.assertGreater(sum(node.size for node in graph.nodes), 2)
            self.check('family')
            while taken := self.q.take('p', 200):
                self.q.settle('p', [outcome(one) for one in taken])
                self.q.beat('p')

    def test_open_arguments(self) -> None:
        """Of many tasks, of each of which all but the last of a thousand arguments are over."""
        ids = [f'{i}' for i in range(1_000)]
        self.put(*map(message, ids))
        wide = [f'wide{i}' for i in range(10)]
        self.put(*[message(id, *ids) for id in wide])
        while (taken := self.q.take('p', 333)) and len(taken) == 333:
            self.q.settle('p', [outcome(one) for one in taken])
        self.assertEqual([found and found.arguments for found in
                          self.broker.backend.inspect([*wide, 'none'])], [*[('999',)] * 10, None])
        self.check('inspect')
        for id in wide:
            self.view.task(id)
            self.view.explain(id)
        self.check('inspect', 'message')

    def test_queue(self) -> None:
        """Of many that are ready, and of many names that were counted."""
        self.put(*[message(f'{i}') for i in range(5_000)])
        names = [f'{n:200}' for n in range(const.TALLIED)]
        for start in range(0, len(names), const.TELLS):
            some = names[start:start + const.TELLS]
            self.broker.backend.tally('p', start + 1, dict.fromkeys(some, FULL), [
                Recent(f'{i}', 'n', 'x', 0) for i in range(const.RECENT)])
        self.client.hset(self.key('ended'), mapping={
            f'v{name}': 1 for name in range(4 * const.TALLIED)})
        self.broker.backend.tally('p', 1_000, dict.fromkeys(names[:const.TELLS], FULL))
        self.assertEqual(self.client.hlen(self.key('ended')), 4 * const.TALLIED - const.TELLS)
        for state in const.STATES[:-1]:
            for newest in True, False:
                for name in '', 'none.such', 'mod.*':
                    page = self.view.tasks(state, name, newest)
                    self.view.tasks(state, name, newest, page.cursor)
        self.view.overview()
        self.view.minutes(8)
        self.view.names(8)
        self.view.failed()
        self.check('tally', 'scan', 'totals', 'minutes', 'pools')
