"""What cannot be encoded is named, with the way to it."""
from __future__ import annotations

import collections
import threading
from typing import Any
from unittest import TestCase, mock

from test.test_codec import (FORMATS, HEADER, NONCE, Data, Holder, Reduced, Slots, Stand,
                             reference, refusal, through, value_through)
from worq import blame
from worq.codec import Codec
from worq.errors import TaskTimeout


class What(TestCase):

    def refused(self, *args: object, format: str = 'pickle', **kwargs: object) -> str:
        c = Codec('default', format=format)
        return refusal(lambda: c.encode_call('id', NONCE, HEADER, args, kwargs, reference))

    def test_paths(self) -> None:
        """The text names the argument and the path to the part that is the matter."""
        lock = threading.Lock()
        why = "cannot pickle '_thread.lock' object"
        for part, path in [
            (lock, ''),
            ([0, lock], ', at [1]'),
            ({'key': [lock]}, ", at ['key'][0]"),
            (Holder(x={'y': lock}), ", at .x['y']"),
            (Slots((1, lock)), ', at .held[1]'),
            (Data(1, [lock]), ', at .more[0]'),
            (collections.deque([1, lock]), ', at [1]'),
            (collections.OrderedDict(k=lock), ", at ['k']"),
            (Reduced(1, lock), ''),
            ({'x' * 100: lock}, f", at ['{'x' * 56}...]"),
        ]:
            self.assertEqual(self.refused(1, part), f'argument 2 of mod.func{path}: {why}')
        self.assertEqual(self.refused(1, name=[lock]),
                         f"argument 'name' of mod.func, at [0]: {why}")

    def test_result(self) -> None:
        """The same for a result."""
        text = refusal(lambda: Codec('q').encode_value('id', NONCE, {'k': (1, threading.Lock())}))
        self.assertEqual(text, "the result['k'][1]: cannot pickle '_thread.lock' object")

    def test_state_left_out(self) -> None:
        """What an object leaves out of its pickle is not blamed."""
        class Partial(Holder):
            def __getstate__(self) -> object:
                return {'bad': self.__dict__['bad']}

        try:
            globals()['Partial'] = Partial
            Partial.__qualname__ = 'Partial'
            text = self.refused(Partial(lock=threading.Lock(), bad=[lambda: 1]))
        finally:
            del globals()['Partial']
        self.assertIn('argument 1 of mod.func, at .bad[0]: ', text)

    def test_in_time(self) -> None:
        """The search goes through a long list, and gives up when it has taken too long."""
        long = [*range(20_000), [threading.Lock()]]
        self.assertIn(', at [20000][0]: cannot', self.refused(long))
        with mock.patch.object(blame, 'SECONDS', 0):
            self.assertIn('argument 1 of mod.func: cannot', self.refused(long))

    def test_cycle(self) -> None:
        """A cycle does not send the search round and round."""
        node = Holder()
        node.__dict__.update(itself=node, near=[[node]], bad=threading.Lock())
        self.assertEqual(self.refused(node), 'argument 1 of mod.func, at .bad: '
                                             "cannot pickle '_thread.lock' object")

    def test_plain_formats(self) -> None:
        """json and msgpack name the type that they cannot hold, and do not look inside it."""
        for format in ['json', 'msgpack']:
            self.assertEqual(
                self.refused([{'k': Holder(x=threading.Lock())}], format=format),
                f"argument 1 of mod.func, at [0]['k']: {format} cannot hold an object of "
                'type Holder')

    def test_too_deep(self) -> None:
        """An object that is nested too deeply is refused, in every format."""
        deep: list[Any] = []
        for _ in range(100_000):
            deep = [deep]
        for format in FORMATS:
            self.assertEqual(self.refused(deep, format=format),
                             'argument 1 of mod.func: nested too deeply')
        while deep:  # so that it is not taken apart recursively
            deep = deep.pop()

    def test_own_errors(self) -> None:
        """What an object raises when it is pickled is told, even if that has no text."""
        class Mute(Exception):
            def __str__(self) -> str:
                raise ValueError

        class Bad:
            def __init__(self, error: Exception) -> None:
                self.error = error

            def __reduce__(self) -> Any:
                raise self.error

        for error, text in [(ValueError('no'), ', at [0]: ValueError: no'),
                            (Mute(), ', at [0]: Mute'), (KeyError(), ', at [0]: KeyError'),
                            (MemoryError(), ': not enough memory')]:
            self.assertEqual(self.refused([Bad(error)]), f'argument 1 of mod.func{text}')

    def test_time_limit_passes(self) -> None:
        """A time limit that strikes while a result is pickled stays what it is."""
        class Slow:
            def __reduce__(self) -> Any:
                raise TaskTimeout('f', 'q', 'id', 'too long')

        with self.assertRaises(TaskTimeout):
            Codec('q').encode_value('id', NONCE, Slow())

    def test_max_payload(self) -> None:
        """What is larger than max_payload is refused, and the option named."""
        for format in FORMATS:
            c = Codec('q', format=format, max_payload=1000)
            self.assertEqual(value_through(c, 'x' * 900), 'x' * 900)
            text = refusal(lambda c=c: c.encode_value('id', NONCE, 'x' * 1001))
            self.assertRegex(text, r'^the result: 1,0\d\d bytes .* 1,000 that max_payload')
            text = refusal(lambda c=c: through(c, 'x' * 2000))
            self.assertRegex(text, r'^the arguments of mod.func: 2,0\d\d bytes')

    def test_mark(self) -> None:
        """A dict that looks like a reference in json is refused, and never taken for one."""
        for args in [({'$worq': ['id', NONCE]},), ([{'k': {'$worq': 1}}], Stand('a'))]:
            text = self.refused(*args, format='json')
            self.assertIn("json cannot hold a dict with the key '$worq'", text)
            self.assertTrue(text.startswith('argument 1 of '), text)
        c = Codec('q', format='json')
        for value in [{'$worq': ['id', NONCE]}, '"$worq":', ['{"$worq":[]}']]:
            self.assertEqual(value_through(c, value), value)
        args, _ = through(c, '{"$worq":["a","b"]}', Stand('a'), '"$worq":')
        self.assertEqual(args, ('{"$worq":["a","b"]}', ['value of', 'a'], '"$worq":'))
