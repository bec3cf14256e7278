"""Pickles are read without loading them: nothing that they name is imported or called."""
from __future__ import annotations

import collections
import datetime
import decimal
import os
import pickle
import pickletools
import random
import sys
import tracemalloc
import unittest
import uuid
from unittest import mock

import cloudpickle

from test.support import eq_
from worq.view.pickles import STEPS, Made, Map, Name, Read, Seq, read
from worq.view.shown import ITEMS, LETTERS, ROOM, Show

TOUCHED = []


def touch(*args):
    TOUCHED.append(args)


class Trap:
    """What would be noticed in whichever way it was made."""

    def __init__(self, how):
        self.how = how

    def __reduce__(self):
        return self.how

    def __setstate__(self, state):
        touch(state)


class Plain:
    def __init__(self, **attributes):
        self.__dict__.update(attributes)


class Slots:
    __slots__ = 'a', 'b'

    def __init__(self):
        self.a, self.b = 1, [2]


def shown(value, protocol=5):
    found = read(pickle.dumps(value, protocol))
    assert found.whole, found
    return Show('f').text(found.parts[0])


class Reading(unittest.TestCase):

    def test_as_python(self):
        """Plain values look as Python writes them, in each protocol."""
        for value in [None, True, False, 0, -1, 255, 256, 1 << 31, 1 << 70, -(1 << 300), 1.5, -0.0,
                      float('inf'), '', 'a\'b"\n\x1b', 'Grüße \U0001f600', '\ud800', b'', b'a\x00',
                      [], [1], (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), {}, {'a': {'b': [()]}},
                      {1: 2, None: 3}, [[[[[[[1]]]]]]], list(range(50))]:
            for protocol in range(6):
                with self.subTest(value, protocol=protocol):
                    if type(value) is bytes and protocol < 3:
                        continue   # it is made by a call then
                    self.assertIn(shown(value, protocol), (repr(value), ascii(value)))

    def test_objects(self):
        """What a pickle would import or call is named, with what it would be given."""
        utc = datetime.UTC
        moment = datetime.datetime(2026, 11, 29, 2, 3, 4, 5)
        number = uuid.UUID('12345678-1234-5678-1234-567812345678')
        me = __name__
        for value, text in [
                ({3}, '{3}'), (frozenset(), 'frozenset()'), (frozenset('a'), "frozenset({'a'})"),
                (set(), 'set()'), (os.path.join, '<posixpath.join>'), (int, '<builtins.int>'),
                (Plain(a=1, b=[2]), f'{me}.Plain(a=1, b=[2])'),
                (Slots(), f'{me}.Slots(a=1, b=[2])'),
                (decimal.Decimal('1.5'), "decimal.Decimal('1.5')"),
                (collections.OrderedDict(a=1), "collections.OrderedDict({'a': 1})"),
                (collections.deque([1]), 'collections.deque([1])'),
                (collections.defaultdict(list, {1: [2]}),
                 'collections.defaultdict(<builtins.list>, {1: [2]})'),
                (ValueError('no'), "ValueError('no')"),
                (number, repr(number).replace('U', 'uuid.U', 1)),
                (moment, repr(moment)), (moment.date(), repr(moment.date())),
                (moment.time(), repr(moment.time())), (bytearray(b'ab'), "bytearray(b'ab')"),
                (range(3), 'range(0, 3, 1)'),
                (moment.replace(tzinfo=utc), repr(moment)[:-1] + ', tzinfo=datetime.timezone('
                 'datetime.timedelta(0, 0, 0)))'), (10 ** 999, '<a number of 3,319 bits>')]:
            with self.subTest(text):
                eq_(shown(value), text)
        eq_(shown(Plain(a=1), 0), f'{me}.Plain(a=1)')   # by copyreg._reconstructor
        made = Plain(a=1)
        eq_(shown([made, made]), f'[{me}.Plain(a=1), {me}.Plain(a=1)]')

    def test_by_value(self):
        """Of what travels by value it is told that it does so."""
        for value, text in [(lambda: 1, '[<a function, sent by value>]'),
                            (type('Local', (), {'__module__': '__main__'}),
                             '[<a class, sent by value>]')]:
            found = read(cloudpickle.dumps([value]))
            eq_((found.whole, Show('f').text(found.parts[0])), (True, text))

    def test_runs_nothing(self):
        """Nothing is imported, called or set, in no way that a pickle knows."""
        here = __name__.encode()
        pickles = [
            pickle.dumps(Trap(how), protocol) for protocol in range(2, 6) for how in [
                (touch, (1,)), (touch, (1,), {'a': 1}), (touch, (), None, iter([1]), None),
                (touch, (), None, None, iter([(1, 2)])), (eval, ('touch(1)',)),
                (os.system, ('exit 1',))]]
        pickles += [
            b'c' + here + b'\ntouch\n(I1\ntR.', b'(I1\ni' + here + b'\ntouch\n.',
            b'(c' + here + b'\ntouch\nI1\no.', b'\x80\x02c' + here + b'\ntouch\n)\x81}b.',
            b'\x80\x04c' + here + b'\ntouch\n)}\x92.', b'cno_such_module_here\nx\n.',
            b'P1\n.', b'I1\nQ.', b'\x82\x01.', b'\x83\x01\x00.', b'\x84\x01\x00\x00\x00.', b'\x97.']
        before = set(sys.modules)
        with mock.patch('pickle.Unpickler', None), mock.patch('pickle.loads', None), \
                mock.patch('builtins.__import__', touch):
            for each in pickles:
                found = read(each)
                self.assertTrue(found.whole, (each, found))
                self.assertTrue(Show('f').text(found.parts[0]))
        eq_(TOUCHED, [])
        eq_(set(sys.modules) - before, set())

    def test_damaged(self):
        """Whatever bytes there are, it ends, with what could be read."""
        whole = pickle.dumps(([1, 'two', {'k': (3,)}], {'key': Plain(a=1)}))
        for end in range(len(whole)):
            found = read(whole[:end])
            self.assertFalse(found.whole)
            [Show('f').text(part) for part in found.parts]
        chance = random.Random(1)
        for _ in range(500):
            bad = bytearray(whole)
            for _ in range(chance.randint(1, 4)):
                bad[chance.randrange(2, len(bad))] = chance.randrange(256)
            found = read(bytes(bad))
            [Show('f').text(part) for part in found.parts]
        for _ in range(500):
            found = read(bytes(chance.choices(OPCODES, k=40)))
            [Show('f').text(part) for part in found.parts]
        eq_(read(b'').why, 'it is damaged (ValueError)')

    def test_partly(self):
        """Of a long one the beginning is shown."""
        found = read(pickle.dumps(([['a', *range(1000)], 2], {'k': 1})), steps=20)
        eq_((found.whole, found.why), (False, 'it is long'))
        self.assertRegex(Show('f').text(found.parts[0]), r"^\[\['a', 0, 1, 2, 3.*\]\]$")


OPCODES = b''.join(code.code.encode('latin-1') for code in pickletools.opcodes)


def bombs():
    """Hostile pickles, each small, that would take for ever or all memory if they were loaded,
    hashed or written out."""
    ten = b''.join(b'](' + 10 * bytes([0x68, n]) + b'e\x94' for n in range(100))
    yield 'laughs', b'\x80\x04]\x94' + ten + b'.'
    yield 'hashes', b'\x80\x04)\x94' + b''.join(
        2 * bytes([0x68, n]) + b'\x86\x94' for n in range(100)) + b'}h\x64Ns.'
    yield 'sets', b'\x80\x04)\x94' + b''.join(
        2 * bytes([0x68, n]) + b'\x86\x94' for n in range(100)) + b'\x8f(h\x64\x90.'
    text = b'\x8d' + (500_000).to_bytes(8, 'little') + 500_000 * b'a' + b'\x94'
    yield 'names', b'\x80\x04' + text + 100 * b'h\x00h\x00\x93' + b'N.'
    items = b'(' + 4_000 * b'K\x01' + b't\x94'
    call = b'cx\ny\n\x94'
    for name, step in [('calls', b'h\x01h\x00R'), ('objects', b'h\x01h\x00\x81'),
                       ('objects by name', b'h\x01h\x00}\x92')]:
        yield name, b'\x80\x04' + items + call + 1_000 * step + b'N.'
    yield 'states', b'\x80\x04' + items + b'0cx\ny\n)R' + 1_000 * b'h\x00b' + b'.'
    yield 'deep', b'\x80\x04' + 20_000 * b']' + 19_999 * b'a' + b'.'
    yield 'deep calls', b'\x80\x04cx\ny\n\x94Nq\x010' + 4_000 * b'h\x00h\x01\x85Rq\x010' + b'h\x01.'
    yield 'itself', b'\x80\x04]\x94(h\x00h\x00h\x00e.'
    yield 'marks', b'\x80\x04' + 20_000 * b'(' + b'.'
    yield 'number', b'\x80\x04\x8b' + (900_000).to_bytes(4, 'little') + 900_000 * b'\x7f' + b'.'
    yield 'digits', b'I' + 900_000 * b'9' + b'\n.'
    yield 'claims', b'\x80\x04\x8d' + b'\xff' * 7 + b'\x7f' + b'abc.'
    yield 'memo', b'\x80\x04Nr\xff\xff\xff\xff0j\xff\xff\xff\xff.'
    yield 'endless', b'\x80\x04' + 1_000_000 * b'N'


GROWING = ['names', 'calls', 'objects', 'objects by name', 'states']


class Hostile(unittest.TestCase):

    def test_bombs(self):
        """Each is read in bounded steps and memory, and shown in short."""
        self.addCleanup(tracemalloc.stop)
        for name, bomb in bombs():
            with self.subTest(name):
                if name in GROWING:   # to measure is dear
                    tracemalloc.start()
                found = read(bomb)
                show = Show('f')
                text = ''.join(map(show.text, found.parts[:3]))
                self.assertLess(len(text), ROOM + 1_000)
                self.assertLess(tracemalloc.get_traced_memory()[1], 10 << 20)
                tracemalloc.stop()

    def test_steps(self):
        """No more operations are looked at than are said."""
        done = []
        with mock.patch('worq.view.pickles.Machine.do', lambda *what: done.append(1)):
            eq_(read(b'\x80\x04' + 1_000_000 * b'N').why, 'it is long')
        eq_(len(done), STEPS)


class Texts(unittest.TestCase):

    def test_bounds(self):
        """Long texts, wide containers and deep ones are cut, and it is said how much is missing."""
        eq_(shown('x' * 1000), repr('x' * LETTERS) + '... 1,000 long')
        eq_(shown([0] * 1000), '[' + '0, ' * ITEMS + '... 900 more]')
        eq_(shown(dict.fromkeys(range(101), 0))[-11:], '... 1 more}')
        deep = []
        for _ in range(20):
            deep = [deep]
        eq_(shown(deep), '[' * 8 + '...' + ']' * 8)
        wide = [['x' * 200] * 100] * 100
        self.assertLess(len(shown(wide)), ROOM + 3_000)

    def test_redact(self):
        """What has a name can be hidden, at any depth; if that raises, it is."""
        asked = []

        def redact(task, key, text):
            asked.append((task, key, text))
            return '***' if key == 'password' else text

        show = Show('login', redact)
        value = read(pickle.dumps({'user': {'password': 'secret'}, 1: Plain(password=['x'])}))
        eq_(show.named('1', value.parts[0]),
            "{'user': {'password': ***}, 1: " + f'{__name__}.Plain(password=***)}}')
        eq_(asked[0], ('login', 'password', "'secret'"))
        self.assertIn(('login', 'user', "{'password': ***}"), asked)
        broken = Show('login', lambda *what: 1 / 0)
        eq_(broken.named('1', 'secret'), '(hidden)')
        eq_(Show('login', lambda *what: 'a\x1bb').named('1', 'x'), r'a\x1bb')

    def test_types(self):
        """A tree is made of what stands for things."""
        found = read(pickle.dumps(((Plain(),), {'k': touch})))
        self.assertIsInstance(found, Read)
        args, kw = found.parts[0].items
        self.assertEqual([type(each) for each in (args, kw, args.items[0], kw.pairs[0][1])],
                         [Seq, Map, Made, Name])
