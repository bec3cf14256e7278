"""Objects to messages and back: references, formats, failures; what cannot be loaded is named."""
from __future__ import annotations

import collections
import dataclasses
import functools
import pickle
import sys
import threading
import types
from collections.abc import Callable
from typing import Any
from unittest import TestCase, mock

import msgpack
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worq import codec
from worq.codec import ByValue, Codec, Keyring
from worq.errors import (DecodeError, DuplicateTask, EncodeError, TaskCancelled, TaskExpired,
                         TaskFailure, TaskTimeout)

NONCE = 'n' * 12
HEADER = b'mod.func'
KEYS = Keyring(['a secret of 16 bytes or more'])
FORMATS = ['pickle', 'json', 'msgpack']


class Stand:
    """Stands for a Deferred."""

    def __init__(self, id: str) -> None:
        self.id = id

    def __reduce__(self) -> Any:
        return codec.reduce_reference(self)


class Holder:
    """An object of somebody's own."""

    def __init__(self, **attributes: object) -> None:
        self.__dict__.update(attributes)


@dataclasses.dataclass
class Data:
    inner: object
    more: list[object] = dataclasses.field(default_factory=list)


class Slots:
    __slots__ = ('held',)

    def __init__(self, held: object) -> None:
        self.held = held


class Reduced:
    """An object that is made anew by a call."""

    def __init__(self, *parts: object) -> None:
        self.parts = parts

    def __reduce__(self) -> Any:
        return Reduced, self.parts


def reference(obj: object) -> tuple[str, str]:
    if not isinstance(obj, Stand):
        raise TypeError(f'{type(obj).__name__} is no Deferred')
    return obj.id, NONCE


def resolve(id: str, nonce: str) -> object:
    assert nonce == NONCE
    return ['value of', id]


def through(c: Codec, *args: object, **kwargs: object) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments after a journey."""
    body = c.encode_call('id', NONCE, HEADER, args, kwargs, reference)
    return c.decode_call('id', NONCE, HEADER, body, resolve)


def value_through(c: Codec, value: object) -> object:
    return c.decode_value('id', NONCE, c.encode_value('id', NONCE, value))


def refusal(call: Callable[[], object], kind: type[Exception] = EncodeError) -> str:
    """The text of the error that a call raises."""
    try:
        call()
    except kind as err:
        return str(err)
    raise AssertionError(f'{kind.__name__} was not raised')


class References(TestCase):

    def setUp(self) -> None:
        self.codec = Codec('default', keys=KEYS)

    def test_anywhere(self) -> None:
        """A Deferred is found in every kind of object that pickle goes into."""
        want = ['value of', 'a']
        args, kwargs = through(
            self.codec, Stand('a'), [Stand('a')], (Stand('a'),), {'k': [Stand('a')]},
            Data(Stand('a'), [Stand('a')]), Holder(x=Holder(y=Stand('a'))), Slots(Stand('a')),
            Reduced(1, Stand('a')), collections.deque([Stand('a')]),
            collections.OrderedDict(k=Stand('a')), functools.partial(max, Stand('a')),
            key=Stand('b'))
        self.assertEqual(args[:4], (want, [want], (want,), {'k': [want]}))
        self.assertEqual(args[4], Data(want, [want]))
        self.assertEqual(args[5].x.y, want)
        self.assertEqual(args[6].held, want)
        self.assertEqual(args[7].parts, (1, want))
        self.assertEqual(args[8:10], (collections.deque([want]), {'k': want}))
        self.assertEqual(args[10].args, (want,))
        self.assertEqual(kwargs, {'key': ['value of', 'b']})

    def test_keys_and_members(self) -> None:
        """A Deferred as a key or in a set becomes its value, if that is hashable."""
        body = self.codec.encode_call('id', NONCE, HEADER, ({Stand('a'): 1}, {Stand('a')}), {},
                                      reference)
        args, _ = self.codec.decode_call('id', NONCE, HEADER, body, lambda id, nonce: id)
        self.assertEqual(args, ({'a': 1}, {'a'}))
        with self.assertRaises(DecodeError):
            self.codec.decode_call('id', NONCE, HEADER, body, resolve)

    def test_identity(self) -> None:
        """One Deferred in several places, or two for one task, is one value, asked for once."""
        for format in FORMATS:
            c = Codec('default', format=format, keys=KEYS)
            stand = Stand('a')
            asked = []

            def ask(id: str, nonce: str, asked: list[str] = asked) -> object:
                asked.append(id)
                return [id]

            body = c.encode_call('id', NONCE, HEADER, (stand, [stand], Stand('a'), Stand('b')),
                                 {}, reference)
            (one, two, three, four), _ = c.decode_call('id', NONCE, HEADER, body, ask)
            self.assertIs(one, two[0])
            self.assertIs(one, three)
            self.assertEqual(four, ['b'])
            self.assertEqual(asked, ['a', 'b'])

    def test_plain_formats(self) -> None:
        """json and msgpack carry Deferreds, nested and by name, whatever their ids are."""
        for format in ['json', 'msgpack']:
            c = Codec('default', format=format, keys=KEYS)
            args, kwargs = through(c, [Stand('ä":\n'), {'k': Stand('b')}], key=Stand('c'))
            self.assertEqual(args, ([['value of', 'ä":\n'], {'k': ['value of', 'b']}],))
            self.assertEqual(kwargs, {'key': ['value of', 'c']})

    def test_by_value(self) -> None:
        """A Deferred whose value is to go in its place does so in every format."""
        def by_value(obj: object) -> tuple[str, str]:
            reference(obj)
            raise ByValue({'x': [1, None]})

        for format in FORMATS:
            c = Codec('default', format=format, keys=KEYS)
            body = c.encode_call('id', NONCE, HEADER, ([Stand('a')],), {}, by_value)
            args, _ = c.decode_call('id', NONCE, HEADER, body, self.fail)
            self.assertEqual(args, ([{'x': [1, None]}],))

    def test_elsewhere(self) -> None:
        """A Deferred is refused in a result, and in a pickle that is no call."""
        for format in FORMATS:
            c = Codec('default', format=format)
            text = refusal(lambda c=c: c.encode_value('id', NONCE, {'k': [Stand('a')]}))
            self.assertTrue(text.startswith("the result['k'][0]: "), text)
        with self.assertRaises(TypeError):
            pickle.dumps(Stand('a'))
        body = pickle.dumps(0)
        try:
            codec._here.reference = reference
            body = pickle.dumps(Stand('a'))
        finally:
            codec._here.reference = None
        with self.assertRaises(TypeError):
            pickle.loads(body)

    def test_foreign(self) -> None:
        """An error of WorQ's own, such as for a Deferred of another queue, comes as it is."""
        def foreign(obj: object) -> tuple[str, str]:
            raise EncodeError('of another queue')

        for format in FORMATS:
            c = Codec('default', format=format)
            text = refusal(lambda c=c: c.encode_call('id', NONCE, HEADER, ([Stand('a')],), {},
                                                     foreign))
            self.assertEqual(text, 'of another queue')

    def test_resolve_raises(self) -> None:
        """What `resolve` raises of WorQ's errors comes as it is; anything else is explained."""
        body = self.codec.encode_call('id', NONCE, HEADER, (Stand('a'),), {}, reference)
        failure = TaskFailure('f', 'default', 'a', 'ValueError: no')
        for error, kind in [(failure, TaskFailure), (KeyError('a'), DecodeError)]:
            with self.assertRaises(kind):
                self.codec.decode_call('id', NONCE, HEADER, body, mock.Mock(side_effect=error))

    def test_nested_use(self) -> None:
        """Objects that encode and decode calls while they are pickled disturb nothing."""
        other = Codec('other', keys=KEYS)

        class Meddler:
            def __reduce__(self) -> Any:
                body = other.encode_call('in', NONCE, HEADER, (Stand('z'),), {},
                                         lambda obj: ('inner', NONCE))
                got = other.decode_call('in', NONCE, HEADER, body, lambda id, nonce: id)
                other.encode_value('in', NONCE, 1)
                return Reduced, got[0]

        args, _ = through(self.codec, Stand('a'), Meddler(), Stand('b'))
        self.assertEqual((args[0], args[2]), (['value of', 'a'], ['value of', 'b']))
        self.assertEqual(args[1].parts, ('inner',))
        self.assertIsNone(codec._here.reference)
        self.assertIsNone(codec._here.resolve)

    def test_state_after_errors(self) -> None:
        """A failed call leaves nothing behind that a later one could trip over."""
        with self.assertRaises(EncodeError):
            through(self.codec, threading.Lock())
        with self.assertRaises(DecodeError):
            self.codec.decode_call('id', NONCE, HEADER, b'', resolve)
        self.assertIsNone(codec._here.reference)
        self.assertIsNone(codec._here.resolve)

    def test_threads(self) -> None:
        """Threads that share a codec get their own references, not each other's."""
        both = threading.Barrier(2, timeout=10)  # both are in the midst of it, all the time
        got = {}

        def work(mine: str) -> None:
            def refer(obj: object) -> tuple[str, str]:
                both.wait()
                return f'{mine} {reference(obj)[0]}', NONCE

            def find(id: str, nonce: str) -> object:
                both.wait()
                return mine, id

            body = self.codec.encode_call('id', NONCE, HEADER, tuple(map(Stand, 'abc')), {},
                                          refer)
            got[mine], _ = self.codec.decode_call('id', NONCE, HEADER, body, find)

        threads = [threading.Thread(target=work, args=(name,)) for name in ('one', 'two')]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(got, {name: tuple((name, f'{name} {id}') for id in 'abc')
                               for name in ('one', 'two')})


class Whence(TestCase):
    """What cannot be loaded is named too."""

    def gone(self, name: str, **contents: object) -> bytes:
        """A value whose class does not exist any more."""
        module = types.ModuleType(name)
        made = type('Gone', (), {'__module__': name})
        module.__dict__.update(Gone=made, **contents)
        with mock.patch.dict(sys.modules, {name: module}):
            return Codec('q').encode_value('id', NONCE, [made()])

    def test_missing(self) -> None:
        """A module or a class that does not exist here is named, with the message."""
        data = self.gone('nowhere_at_all')
        text = refusal(lambda: Codec('q').decode_value('id', NONCE, data), DecodeError)
        self.assertEqual(text, 'the result [q:id] cannot be loaded here: '
                               "ModuleNotFoundError: No module named 'nowhere_at_all'")
        data = self.gone('worq.const')
        text = refusal(lambda: Codec('q').decode_value('id', NONCE, data), DecodeError)
        self.assertIn("Can't get attribute 'Gone' on <module 'worq.const'", text)

    def test_damaged(self) -> None:
        """A payload that is no pickle, json or msgpack gives a DecodeError, nothing else."""
        for format, number in [('pickle', 1), ('json', 2), ('msgpack', 3)]:
            c = Codec('q', format=format)
            head = bytes([codec.MAGIC, codec.VALUE, number]) + bytes(4)
            for payload in [b'', b'\xdd', b'\xc1', b'{' * 100_000, b'\x91' * 100_000, b'\x80\x05(']:
                with self.assertRaises(DecodeError):
                    c.decode_value('id', NONCE, head + payload)

    def test_no_call(self) -> None:
        """A body that does not hold arguments gives a DecodeError."""
        for thing in [5, (1,), (1, {}), ((), 2), (1, 2, 3)]:
            head = bytes([codec.MAGIC, codec.CALL, 1]) + bytes(4)
            with self.assertRaises(DecodeError):
                Codec('q').decode_call('id', NONCE, HEADER, head + pickle.dumps(thing), resolve)

    def test_main_loader(self) -> None:
        """The main script is loaded once, when a pickle needs it and no sooner."""
        data = self.gone('__main__')
        main = types.ModuleType('__main__')
        calls = []

        def load() -> None:
            calls.append(1)
            main.__dict__['Gone'] = type('Gone', (), {'__module__': '__main__'})

        c = Codec('q')
        with mock.patch.dict(sys.modules, {'__main__': main}):
            with self.assertRaises(DecodeError):
                c.decode_value('id', NONCE, data)
            with mock.patch.object(codec, 'main_loader', load):
                self.assertEqual(value_through(c, 5), 5)
                with self.assertRaises(DecodeError):
                    c.decode_value('id', NONCE, self.gone('nowhere_at_all'))
                self.assertEqual(calls, [])
                for _ in range(2):
                    [found] = c.decode_value('id', NONCE, data)  # type: ignore[misc]
                    self.assertEqual(type(found).__name__, 'Gone')
                del main.__dict__['Gone']
                with self.assertRaises(DecodeError):
                    c.decode_value('id', NONCE, data)
        self.assertEqual(calls, [1])

    def test_main_loader_fails(self) -> None:
        """A main script that cannot be loaded is the reason given."""
        data = self.gone('__main__')
        load = mock.Mock(side_effect=ZeroDivisionError('in the script'))
        with mock.patch.object(codec, 'main_loader', load):
            text = refusal(lambda: Codec('q').decode_value('id', NONCE, data), DecodeError)
        self.assertIn('ZeroDivisionError: in the script', text)


class Formats(TestCase):

    def test_unknown(self) -> None:
        """A format that does not exist is refused at once, with those that do."""
        with self.assertRaisesRegex(ValueError, "pickle, json, msgpack, not 'yaml'"):
            Codec('q', format='yaml')

    def test_msgpack_missing(self) -> None:
        """Without the package the error says what to install."""
        data = Codec('q', format='msgpack').encode_value('id', NONCE, 1)
        with mock.patch.object(codec, 'msgpack', None):
            with self.assertRaisesRegex(ImportError, r'pip install "WorQ\[msgpack\]"'):
                Codec('q', format='msgpack')
            with self.assertRaisesRegex(DecodeError, r'pip install "WorQ\[msgpack\]"'):
                Codec('q').decode_value('id', NONCE, data)

    def test_tuples(self) -> None:
        """Positional arguments arrive as a tuple; inside, plain formats know lists only."""
        self.assertEqual(through(Codec('q'), (1, 2))[0], ((1, 2),))
        for format in ['json', 'msgpack']:
            self.assertEqual(through(Codec('q', format=format), (1, 2))[0], ([1, 2],))

    def test_other_extensions(self) -> None:
        """Extension types of msgpack that are not WorQ's are carried through."""
        c = Codec('q', format='msgpack')
        ext = msgpack.ExtType(5, b'data')
        self.assertEqual(through(c, ext, Stand('a'))[0], (ext, ['value of', 'a']))
        self.assertEqual(value_through(c, msgpack.ExtType(codec.EXTENSION, b'x')),
                         msgpack.ExtType(codec.EXTENSION, b'x'))

    def test_pass(self) -> None:
        """A TaskFailure is a value like any other for pickle, with its traceback."""
        failure = TaskExpired('f', 'q', 'id', 'gone', 'Traceback ...')
        got = value_through(Codec('q', keys=KEYS), failure)
        self.assertEqual(got, failure)
        self.assertEqual(got.traceback, 'Traceback ...')  # type: ignore[attr-defined]


text = st.text(st.characters(codec='utf-8'))
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-2**63, 2**64 - 1) | text
    | st.floats(allow_nan=False),
    lambda inner: st.lists(inner) | st.dictionaries(text, inner), max_leaves=20)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(plain, st.lists(plain, max_size=3), st.sampled_from(FORMATS), st.booleans())
def test_plain_data(value: object, args: list[object], format: str, signed: bool) -> None:
    """Plain data comes out as it went in, by every format, signed or not."""
    c = Codec('q', format=format, keys=KEYS if signed else None)
    assert value_through(c, value) == value
    if '$worq' not in repr(args):
        assert through(c, *args, key=args) == (tuple(args), {'key': args})


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(), st.dictionaries(st.integers(-9, 9), st.binary()))
def test_msgpack_data(data: bytes, mapping: dict[int, bytes]) -> None:
    """msgpack keeps bytes apart from text, and numbers as keys."""
    assert value_through(Codec('q', format='msgpack'), [data, mapping]) == [data, mapping]


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(), st.text(), st.text(st.characters(codec='utf-8'), min_size=1), st.text(),
       st.sampled_from([TaskFailure, TaskExpired, TaskCancelled, TaskTimeout, DuplicateTask]))
def test_failure_text(name: str, error: str, id: str, traceback: str,
                      kind: type[TaskFailure]) -> None:
    """A failure comes back equal and of its type, whatever is in its texts."""
    c = Codec('q', keys=KEYS)
    failure = kind(name, 'q', id, error, traceback)
    got = c.decode_failure(id, NONCE, c.encode_failure(NONCE, failure))
    assert got == failure and got.traceback == traceback and type(got) is kind


class Failures(TestCase):

    def through(self, failure: TaskFailure) -> TaskFailure:
        c = Codec('q', keys=KEYS)
        return c.decode_failure(failure.task_id, NONCE, c.encode_failure(NONCE, failure))

    def test_huge(self) -> None:
        """Of texts that are too long the head and the tail are kept."""
        got = self.through(TaskFailure('f', 'q', 'id', 'head' + 'x' * 10**6 + 'tail',
                                       'first' + 'y' * 10**6 + 'last'))
        self.assertRegex(got.error, r'^headx+\n\.\.\. 990,008 characters left out \.\.\.\nx+tail$')
        self.assertLess(len(got.error), 10_100)
        self.assertRegex(got.traceback, r'^firsty+\n.*left out.*\ny+last$')
        self.assertLess(len(got.traceback), 64_100)

    def test_surrogates(self) -> None:
        """Half of a surrogate pair in an error does not hurt."""
        self.assertEqual(self.through(TaskFailure('f', 'q', 'id', 'a\udc80b')).error, 'a\udc80b')

    def test_own_subclass(self) -> None:
        """A subclass of the user's becomes the one of WorQ's that it is made of."""
        class Mine(TaskExpired):
            pass

        self.assertIs(type(self.through(Mine('f', 'q', 'id', 'x'))), TaskExpired)

    def test_every_format(self) -> None:
        """A failure is written alike by every format, and read by every other."""
        failure = TaskFailure('f', 'q', 'id', 'x')
        codecs = [Codec('q', format=format, keys=KEYS) for format in FORMATS]
        written = {c.encode_failure(NONCE, failure) for c in codecs}
        self.assertEqual(len(written), 1)
        for c in codecs:
            self.assertEqual(c.decode_failure('id', NONCE, *written), failure)

    def test_damaged(self) -> None:
        """A record that lacks something gives a DecodeError."""
        head = bytes([codec.MAGIC, codec.FAILURE, codec.JSON]) + bytes(4)
        for payload in [b'', b'[]', b'{}', b'{"type":"TaskFailure"}', b'{"type":[]}', b'5']:
            with self.assertRaises(DecodeError):
                Codec('q').decode_failure('id', NONCE, head + payload)
