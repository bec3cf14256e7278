"""The contract of a task queue as tests: what those need who move tasks to another queue."""
from __future__ import annotations

from test.queue.contract import message
from test.queue.contract_gates import Edges
from worq import const
from worq.queue import base
from worq.queue.base import Argument, Message, Outcome, path, unpack


class Moving(Edges):

    def settle_held(self, id: str, word: str, data: bytes = b'', to: Argument | None = None,
                    pool: str = '', token: bytes = b'') -> str:
        """Settle what stands behind the gate."""
        token = token or self.lives[id].nonce.encode() + b'0'
        told, = self.q.settle(pool or self.gate.id, [Outcome(id, token, word, data, target=to)])
        return told

    def hold(self, *messages: Message) -> None:
        self.open_gate()
        self.behind(*messages)
        self.lives = {one.id: one for one in messages}

    # -- what a task was put with ---------------------------------------------------

    def test_message_is_whole(self) -> None:
        """All is told that a task was put with, and what signs its edges."""
        a, b = message('a'), message('b')
        plain = message('plain', body=b'')
        many = message('many', Argument('b', '', b'seal'), 'a', flags=base.PASS | base.NEEDED,
                       priority=0, ttl=9_000, lease=4_000, max_deliveries=7)
        self.put(a, b, plain, many)
        seen, other = self.q.message(['many', 'plain'])
        assert seen is not None and other is not None
        self.assertEqual(seen, (many.nonce, many.header, many.body, len(many.body), ('b', 'a'),
                                base.PASS | base.NEEDED, 0, 9_000, 4_000, 7, (b'seal', b''), b''))
        self.assertEqual(other[4:], ((), *Message('', '', b'', b'')[5:7], plain.ttl, 0,
                                     plain.max_deliveries, (), b''))
        deliveries = {d.id: d for d in self.take(3)}
        self.assertEqual(self.settle(Outcome('a', deliveries['a'].token, 'delegate', b'tail',
                                             target=Argument('b', b.nonce))), ['ok'])
        seen, = self.q.message(['a'])
        assert seen is not None
        self.assertEqual((seen.tail, seen.arguments, seen.body), (b'tail', (), a.body))

    def test_message_from_the_middle(self) -> None:
        """A body is told from any byte on, and arguments from any of them on."""
        wide = [message(f'w{n}') for n in range(const.PUT_LIMIT + 5)]
        self.put(*wide)
        body = bytes(range(256)) * 5_000
        self.open_gate()
        names = [Argument(one.id, '', b's%d' % n) for n, one in enumerate(wide)]
        self.behind(message('long', *names[:const.PUT_LIMIT], body=body))
        long, = self.q.message(['long'])
        assert long is not None
        self.assertEqual(self.q.edges(self.gate.id, 'long', long.nonce, const.PUT_LIMIT,
                                      names[const.PUT_LIMIT:]), [])
        self.put(message('short', 'w0', body=b'0123456789'))
        found, at = b'', 0
        while at < len(body):
            one, = self.q.message(['long'], at)
            assert one is not None and one.size == len(body)
            found, at = found + one.body, at + len(one.body)
        self.assertEqual(found, body)
        for start, end in (0, const.PUT_LIMIT), (7, const.PUT_LIMIT + 7), (const.PUT_LIMIT, None):
            one, short = self.q.message(['long', 'short'], 4, start)
            assert one is not None and short is not None
            part = names[start:end]
            self.assertEqual(one.arguments, tuple(each.id for each in part))
            self.assertEqual(one.seals, tuple(each.seal for each in part))
            self.assertEqual((short.body, short.size), (b'', 10) if len(one.body) == const.CONTENT
                             else (b'456789', 10))
            self.assertEqual(short.arguments, ('w0',) if start == 0 else ())
        self.assertEqual([one and one.body for one in self.q.message(['short'], 99)], [b''])
        for start, argument in (-1, 0), (0, -1), (1.5, 0):
            with self.assertRaises(ValueError):
                self.q.message(['short'], start, argument)   # type: ignore[arg-type]
        self.end_gate()
        self.q.cancel(['long', *(one.id for one in wide)])

    # -- withdrawn --------------------------------------------------------------------

    def test_withdraw(self) -> None:
        """What is ready, due later or pending ends as cancelled, and who waits hears why."""
        self.put(message('a'), message('b', 'a'), message('later', delay=9_000),
                 message('free'), message('ignored', flags=base.IGNORE_RESULT))
        self.q.watch('c', ['b', 'later'])
        ids = ['b', 'later', 'none', 'ignored']
        self.assertEqual(self.q.withdraw(ids, 'moved to é'),
                         ['withdrawn', 'withdrawn', 'unknown', 'withdrawn'])
        self.assertEqual(self.q.withdraw(ids, 'moved to é'),
                         ['completed', 'completed', 'unknown', 'unknown'])
        self.assertEqual(self.outcome_of('b'), (b'c', b'mod.func\nmoved to \xc3\xa9'))
        self.assertIsNone(self.origin_of('b'))
        news = dict(self.q.wait('c', 0))
        self.assertEqual({id: raw and unpack(raw).kind for id, raw in news.items()},
                         {'b': b'c', 'later': b'c'})
        self.assertEqual((self.q.stats()['cancelled'], self.ids()), (3, ['a', 'free']))
        self.assertEqual(self.q.withdraw([], 'moved'), [])
        for reason in '', 'x' * (const.PROGRESS + 1):
            with self.assertRaises(ValueError):
                self.q.withdraw(['a'], reason)

    def test_withdraw_what_is_needed(self) -> None:
        """What a pool has is left to it, and what something live waits for or has returned."""
        self.put(message('run'), message('a'), message('b', 'a'), message('c', 'b'))
        delivery = self.take_one('run')
        self.assertEqual(self.q.withdraw(['run', 'a', 'b'], 'moved'), ['needed'] * 3)
        self.settle(Outcome('run', delivery.token, 'delegate', target=Argument('c', '')))
        self.assertEqual(self.q.withdraw(['c', 'run', 'c', 'b', 'a'], 'moved'),
                         ['needed'] + ['withdrawn'] * 4)
        self.open_gate()
        self.assertEqual(self.q.withdraw(['gate'], 'moved'), ['needed'])
        self.end_gate()

    def test_withdraw_what_many_needed(self) -> None:
        """Of what many have needed that are over it is told in the end."""
        many = [message(f'm{n}', 'a') for n in range(const.PUT_LIMIT * 2 + 100)]
        self.put(message('a'), *many)
        self.q.cancel([one.id for one in many[:-1]])
        asked = [self.q.withdraw(['a'], 'moved') for _ in range(5)]
        self.assertEqual(asked, [['needed']] * 5)
        self.q.withdraw([many[-1].id], 'moved')
        asked = [self.q.withdraw(['a'], 'moved') for _ in range(4)]
        self.assertIn(['withdrawn'], asked)

    # -- what was begun before it came ---------------------------------------------------

    def test_held_value(self) -> None:
        """Who holds a gate completes what it holds back; what depends on that waits for it."""
        self.hold(message('a'), message('f'), message('x'), message('b', 'a'),
                  message('p', 'f', flags=base.PASS), message('out', 'f'))
        self.assertEqual(self.settle_held('a', 'value', b'one'), 'ok')
        self.assertEqual(self.settle_held('f', 'failure', b'because'), 'ok')
        self.assertEqual(self.settle_held('x', 'expire', b'it died'), 'ok')
        self.assertEqual(self.settle_held('a', 'value', b'two'), 'again')
        self.tick()
        self.assertEqual([self.outcome_of(id) for id in 'afx'],
                         [(b'v', b'one'), (b'f', b'because'), (b'x', b'mod.func\nit died')])
        self.assertEqual(self.status('b', 'p', 'out'), ['pending', 'pending', 'completed'])
        self.assertEqual(self.ids(), [])
        self.end_gate()
        p, b = sorted(self.take(9), key=lambda d: d.id, reverse=True)
        self.assertEqual([unpack(raw).data for d in (b, p) for _, raw in d.arguments],
                         [b'one', b'because'])
        self.assertEqual((b.token, self.settle_held('a', 'value')),
                         (self.lives['b'].nonce.encode() + b'1', 'again'))
        self.assertEqual(self.q.revive([base.Revival('f')]), ['gone'])

    def test_held_tail_call(self) -> None:
        """What has returned a Deferred elsewhere waits for it here, when the gate has ended."""
        self.hold(message('t'), message('x'), message('after', 'x'))
        to = Argument('t', self.lives['t'].nonce)
        self.assertEqual(self.settle_held('x', 'delegate', b'seal', to), 'ok')
        self.assertEqual(self.settle_held('x', 'delegate', b'seal', to), 'again')
        seen, = self.q.inspect(['x'])
        assert seen is not None
        self.assertEqual((seen.state, seen.target, seen.gate, seen.open),
                         ('pending', 't', 'gate', 0))
        self.assertEqual(self.q.audit(), [])
        refused = self.q.edges('gate', 'x', self.lives['x'].nonce, 0, [to])
        self.assertEqual(refused, [base.Refusal('x', 'unknown', 'x')])
        self.end_gate()
        self.assertEqual(self.q.audit(), [])
        seen, = self.q.inspect(['x'])
        assert seen is not None
        self.assertEqual((seen.state, seen.target, seen.gate), ('pending', 't', ''))
        self.complete('t', b'value')
        self.assertEqual(self.outcome_of('x'), (b'v', b'value'))
        raw, = self.q.results(['x'])
        self.assertEqual([(hop.id, hop.seal) for hop in path(raw or b'')], [('t', b'seal')])
        self.assertEqual(self.ids(), ['after'])

    def test_held_tail_call_of_what_is_over(self) -> None:
        """The Deferred may have come to something by then, or fail with the gate."""
        self.hold(message('t'), message('x'), message('y'), message('u'))
        to, other = (Argument(id, self.lives[id].nonce) for id in 'tu')
        self.assertEqual(self.settle_held('t', 'value', b'v'), 'ok')
        self.assertEqual(self.settle_held('x', 'delegate', b'', to), 'ok')
        self.assertEqual(self.outcome_of('x'), (b'v', b'v'))
        self.assertEqual(self.settle_held('y', 'delegate', b'seal', other), 'ok')
        self.end_gate('failure', b'because')
        self.tick()
        self.assertEqual(self.outcome_of('y'), (b'f', b'because'))
        self.assertEqual(self.outcome_of('x'), (b'v', b'v'))

    def test_held_chain_of_tail_calls(self) -> None:
        """A value that has come along too many is signed anew, gate or not."""
        many = const.LINKS + 2
        self.hold(message('end'), *(message(f'x{n}') for n in range(many)))
        last = 'end'
        for n in range(many):
            to = Argument(last, self.lives[last].nonce)
            last = f'x{n}'
            self.assertEqual(self.settle_held(last, 'delegate', b'seal', to), 'ok')
        self.settle_held('end', 'value', b'v')
        self.tick()
        delivery, = self.take(9)
        self.assertEqual((delivery.id, delivery.memo), (f'x{const.LINKS}', b'seal'))
        self.assertEqual(self.q.audit(), [])
        self.settle(Outcome(delivery.id, delivery.token, 'value', b'anew'))
        self.assertEqual(self.outcome_of(last), (b'v', b'anew'))
        self.end_gate()
        self.assertEqual(self.ids(), [])

    def test_held_by_somebody_else(self) -> None:
        """Nobody else settles what a gate holds back, nor otherwise, nor what has no gate, or has
        arguments."""
        self.hold(message('a'), message('b'), message('c', 'b'))
        self.put(free := message('free'))
        self.lives['free'] = free
        for word in 'retry', 'release', 'refuse', 'lost', 'unknown':
            self.assertEqual(self.settle_held('a', word), 'stale', word)
        self.assertEqual(self.settle_held('a', 'value', pool='p1'), 'stale')
        self.assertEqual(self.settle_held('a', 'value', token=b'x' * const.NONCE + b'0'), 'stale')
        self.assertEqual(self.settle_held('free', 'value'), 'stale')
        self.assertEqual(self.settle_held('c', 'value'), 'stale')
        self.assertEqual(self.settle_held('none', 'value', token=b'x' * const.NONCE + b'0'), 'gone')
        self.assertEqual(self.q.stats()['stale'], 9)
        self.q.cancel(['a'])
        self.assertEqual(self.settle_held('a', 'value'), 'stale')
        self.end_gate()
        self.assertEqual(self.settle_held('b', 'value'), 'stale')
        self.assertEqual(self.ids(), ['free', 'b'])

    def test_held_and_purged(self) -> None:
        """A purge cancels what a gate holds back, and it stays so."""
        self.hold(message('a'), message('b'))
        self.settle_held('b', 'delegate', b'', Argument('a', self.lives['a'].nonce))
        self.q.purge()
        self.assertNotEqual(self.settle_held('a', 'value'), 'ok')
        self.end_gate()
        self.tick()
        self.assertEqual([self.outcome_of(id)[0] for id in 'ab'], [b'c', b'c'])
