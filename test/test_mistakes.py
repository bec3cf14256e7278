"""Calls that cannot be right: what is said names what to do in their place."""
from __future__ import annotations

import copy
import io
import os
import pickle
import sys
import types
import unittest
from unittest import mock

import worq
from test.broker_case import BrokerCase, on_every_queue
from worq import DecodeError, EncodeError, Task, current_task
from worq.codec import Codec
from worq.pool.children import begin, child
from worq.pool.children.protocol import INIT
from worq.pool.children.respawn import one_line
from worq.pool.process import WorkerPool
from worq.pool.run import Free, run


def identity(x=None, y=None):
    return x


def numbers(n):
    yield from range(n)


async def counted():
    yield 1


async def nothing():
    pass


def later(n):
    return {'counted': [counted()]}


def init_without():
    """Takes no address."""


def init_by_name(name, *, url):
    """Takes one more than it is given."""


class MistakesContract(BrokerCase):
    """What a call, a wait or a name is told to be, on every queue."""

    __test__ = False

    def setUp(self):
        super().setUp()
        self.b = self.broker()
        for function in [identity, numbers, later]:
            self.b.expose(function)
        self.q = self.b.queue()

    def failure(self, deferred):
        self.work(self.b)
        return deferred.exception(30).error

    def test_queue_or_broker(self):
        """A queue, a Task, a broker or the current task as an argument: what to send is said."""
        for codec in 'pickle', 'json', 'msgpack':
            q = self.broker(codec=codec).queue()
            for bad in q, q.f, Task(q.f), self.b:
                says = r'^argument 2 of g, at .0.: <.* cannot be sent: call .*, or pass a Deferred'
                with self.subTest(codec, bad=bad), self.assertRaisesRegex(EncodeError, says):
                    q.g(1, [bad])
        self.b.tasks['me'] = lambda: [current_task()]
        self.assertRegex(self.failure(self.q.me()), r'the result\[0\]: <CurrentTask .* send what')
        self.b.tasks['other'] = lambda: current_task().queue.f
        self.assertRegex(self.failure(self.q.other()), 'the result: <Queue f .* call it')

    def test_copies(self):
        """A queue, a Task and a broker are copied as ever."""
        task = Task(self.q.f, timeout=5)
        self.assertEqual(copy.copy(task).options, {'timeout': 5})
        self.assertIs(copy.copy(self.b).backend, self.b.backend)
        self.assertEqual(copy.copy(self.q.f), self.q.f)

    def test_generator(self):
        """A generator, or what else is gone through once, is to be made a list."""
        for deferred, text in [
                (self.q.numbers(3), r'the result: .* return list\(\.\.\.\)$'),
                (self.q.later(3), r"the result\['counted'\]\[0\]: .* return \[each async for")]:
            self.assertRegex(self.failure(deferred), text)
        with open(os.devnull) as file:
            for bad, text in [((n for n in [1]), r'pass list\(\.\.\.\)$'),
                              ({1: 2}.keys(), r'pass list\(\.\.\.\)$'),
                              (file, 'pass its path, or what is in it$'),
                              (lambda: 1, 'define it at the top level of a module$')]:
                with self.assertRaisesRegex(EncodeError, f'^argument 1 of identity: .*; {text}'):
                    self.q.identity(bad)
        coroutine = nothing()
        with self.assertRaisesRegex(EncodeError, 'await it$'):
            self.q.identity(coroutine)
        coroutine.close()
        q = self.broker(codec='json').queue()
        with self.assertRaisesRegex(EncodeError, r'type generator; pass list\(\.\.\.\)$'):
            q.identity(n for n in [1])

    def test_option_among_the_arguments(self):
        """An option of a Task that the function does not take: how it is given is said."""
        for kw, text in [({'timeout': 5}, r'; an option\? Task\(q.identity, timeout=5\)$'),
                         ({'retries': 3, 'y': 1}, r'; an option\? Task\(q.identity, retries=3\)$'),
                         ({'tries': 3}, "argument 'tries'$"),
                         ({'y': 3, 'z': 4}, "argument 'z'$")]:
            self.assertRegex(self.failure(self.q.identity(1, **kw)), text)
        self.b.tasks['own'] = lambda timeout: int('a', timeout=timeout)
        self.assertIn('an option?', self.failure(self.q.own(timeout=5)))
        self.b.tasks['other'] = lambda timeout: int(None)
        self.assertNotIn('option', self.failure(self.q.other(timeout=5)))

    def test_ids(self):
        """What is no list of texts is no list of ids, whatever the queue."""
        for verb in self.b.cancel_all, self.b.revive_all, self.b.forget_all:
            for bad in 'abc', ['a', 5], [None], [b'a'], [self.q.identity(1)]:
                with self.subTest(verb=verb.__name__, bad=bad), \
                        self.assertRaisesRegex(TypeError, 'list of ids|is a string'):
                    verb(bad)
            self.assertEqual(len(verb(id for id in ['a', 'b'])), 2)

    def test_waited_in_vain(self):
        """Who has waited for a second or more is told how the task stands; sooner, where to ask."""
        d = Task(self.q.identity, delay=3600)(1)
        with mock.patch.object(self.b.inbox, 'wait', return_value=False):
            with self.assertRaisesRegex(TimeoutError, r'^no result after 1.5 seconds: identity \['
                                        r'.*:.*\] is scheduled, and due in .* \(explain\(\) says'):
                d.result(1.5)
            with self.assertRaisesRegex(TimeoutError, 'is scheduled'):
                d.exception(1)
            says = rf'^identity \[.*:{d.id}\] has no result after .* seconds; explain\(\) says why$'
            with self.assertRaisesRegex(TimeoutError, says):
                d.result(0.9)
            with mock.patch.object(self.b, 'explain', side_effect=worq.QueueError('gone')), \
                    self.assertRaisesRegex(TimeoutError, says):
                d.result(1)

    def test_names_that_are_no_tasks(self):
        """A call that was hardly meant to be a task's is warned of, once, unless it is one."""
        for name, text in [('purge', r'del q\[:\]'), ('identity.delay', 'call of the task itself'),
                           ('identity.map', r'worq\.map\('), ('result', r'\.result\(\)'),
                           ('submit', 'call of the task itself'), ('empty', r'len\(q\)')]:
            with self.assertLogs('worq.mistakes', 'WARNING') as logs:
                Task(getattr(self.q, name))()
            self.assertRegex(logs.output[0], rf'{name} \[.*\] is put as a task.*{text}')
            with self.assertNoLogs('worq.mistakes', 'WARNING'):
                getattr(self.q, name)()
                worq.map(self.q.identity, [1])
        with self.assertLogs('worq.mistakes', 'WARNING'):
            worq.map(self.q.apply, [1])

    def test_names_that_are_tasks(self):
        """Not where this broker or a pool that is alive knows the name."""
        self.b.tasks['purge'] = identity
        self.b.backend.join('pool', {'tasks': 'delay\nx.map'})
        with self.assertNoLogs('worq.mistakes', 'WARNING'):
            self.q.purge(), self.q.delay(), self.q.x.map(), self.q.identity.maps()
        with self.assertLogs('worq.mistakes', 'WARNING'):
            self.q.map()
        self.b.backend.leave('pool')

    def test_print_of_a_root_queue(self):
        """A root queue is printed as what it is; it has no name to be called by all the same."""
        self.assertEqual(str(self.q), f'<Queue (root) [{self.name}]>')
        with self.assertRaisesRegex(TypeError, 'name one'):
            Task(self.q)(1)

    def test_arguments_of_a_call(self):
        """The arguments of a call can be read until its Deferred is an argument of another one."""
        d = self.q.identity(1, y=2)
        self.assertEqual((d.task.args, d.task.kw), ((1,), {'y': 2}))
        self.q.identity(d)
        self.assertEqual((d.task.args, d.task.kw), (None, None))


class OtherScripts(unittest.TestCase):
    """What is defined in the main script of another program."""

    def test_class_of_a_script(self):
        """Its reader says whose script that is, and what to do."""
        codec = Codec('q')
        kind = type('Mine', (), {'__module__': '__main__', '__qualname__': 'Mine'})
        main = sys.modules['__main__']
        main.Mine = kind
        try:
            call = codec.encode_call('id', 'n', b'f', (kind(),), {}, lambda obj: codec.none)
            value = codec.encode_value('id', 'n', kind())
        finally:
            del main.Mine
        for read, of in [(lambda: codec.decode_call('id', 'n', b'f', call, None), 'calls'),
                         (lambda: codec.decode_value('id', 'n', value), 'runs the task')]:
            with self.assertRaisesRegex(DecodeError, "'Mine'.*; it is defined in the script of "
                                        f'whoever {of}: move it to a module$'):
                read()
        raw = value.replace(b'__main__', b'textwrap')
        with self.assertRaisesRegex(DecodeError, "'Mine' on <module '?textwrap.*[^e]$"):
            codec.decode_value('id', 'n', raw)


class Inits(unittest.TestCase):
    """An init_func that does not take the address."""

    def setUp(self):
        self.broker = worq.get_broker('memory://', 'test-mistakes')

    def test_none_at_all(self):
        """One that takes nothing is refused where the pool is made."""
        with self.assertRaisesRegex(TypeError, r'address of the queue .* def init_without\(url\)'):
            WorkerPool(self.broker, init_without)
        for takes in [lambda *url: 1, lambda url: 1, types.SimpleNamespace, init_by_name]:
            WorkerPool(self.broker, takes, workers=1)

    def test_in_the_child(self):
        """What else does not fit a child tells, and how it is called; but not of its own errors."""
        def data(init):
            return [INIT, pickle.dumps({'preparation': None, 'url': 'memory://', 'place': '',
                                        'init': pickle.dumps((init, (), {}))}), b'q']
        with mock.patch.object(begin, 'prepare'):
            with self.assertRaises(TypeError) as caught:
                begin.made(data(init_by_name), True)
            self.assertEqual(caught.exception.__notes__, [begin.CALLED])
            self.assertIn('init_func(url, *init_args', one_line(caught.exception))
            with self.assertRaises(TypeError) as caught:
                first = data(io.StringIO)
                begin.checked(begin.made(first, True), first)   # returns no broker
            self.assertFalse(hasattr(caught.exception, '__notes__'))

    def test_where_tasks_are_exposed(self):
        """In a child, "no such task" says which broker it is that exposes them."""
        control = Free()
        control.exposes = child.ChildInterrupter.exposes
        d = self.broker.queue().nobody()
        delivery, = self.broker.backend.take('test-pool', 1)
        outcome = run(self.broker, delivery, control)
        failure = self.broker.codec.decode_failure(d.id, delivery.token[:12].decode(), outcome.data)
        self.assertEqual(failure.error, 'no such task')
        self.assertEqual(failure.__notes__, [
            'this pool has none; in a process pool they are exposed by init_func, which each '
            'child calls'])
        d.cancel()


on_every_queue(globals(), MistakesContract)
