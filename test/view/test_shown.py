"""Arguments and values as texts: signed ones only, in each format, and none of them is loaded."""
from __future__ import annotations

import unittest

from test.support import eq_
from worq import DecodeError
from worq.codec import Codec, Keyring
from worq.queue.base import unpack
from worq.view.records import Arguments
from worq.view.shown import Show, show_call, show_value

KEYS = Keyring(['a secret of some length'])
LIFE = 'n' * 12


class Lost:
    """Whoever loads it is noticed."""

    def __setstate__(self, state):
        raise AssertionError('it was loaded')

    def __init__(self):
        self.a = 1


class Reference:
    """As a Deferred."""

    def __reduce__(self):
        from worq.codec import reduce_reference
        return reduce_reference(self)


def call(*args, codec='pickle', keys=KEYS, **kw):
    """A codec, and the body of a call."""
    made = Codec('q', format=codec, keys=keys)
    return made, made.encode_call('id', LIFE, b'f', args, kw, refer)


def refer(obj):
    if isinstance(obj, Reference):
        return 'other', 'o' * 12
    raise TypeError(obj)


def show(codec, body, header=b'f', redact=None):
    return show_call(codec, 'id', LIFE, header, body, Show('f', redact))


class Calls(unittest.TestCase):

    def test_formats(self):
        """Each format shows the same, also Deferreds, and nothing is loaded."""
        for format in ['pickle', 'cloudpickle', 'json', 'msgpack']:
            codec, body = call(1, {'a': [None, 'b']}, Reference(), codec=format, key=1.5, other={})
            with self.subTest(format):
                eq_(show(codec, body), Arguments(
                    ('1', "{'a': [None, 'b']}", '<Deferred other>'),
                    {'key': '1.5', 'other': '{}'}))
        codec, body = call(codec='json')
        eq_(show(codec, body), Arguments((), {}))
        codec, body = call(Lost(), key=Lost())
        text = f'{__name__}.Lost(a=1)'
        eq_(show(codec, body), Arguments((text,), {'key': text}))

    def test_untrusted(self):
        """What is not signed, or by somebody else, or for something else, is not shown."""
        codec, body = call('secret')
        for other, header, words in [
                (Codec('q', keys=Keyring(['another secret, of others'])), b'f', 'with a key'),
                (Codec('q'), b'f', 'knows no secret'),
                (Codec('r', keys=KEYS), b'f', 'does not fit'),
                (codec, b'g', 'does not fit')]:
            found = show(other, body, header)
            eq_((found.args, found.kw), ((), {}))
            self.assertIn(words, found.note)
        found = show(codec, call('secret', keys=None)[1])
        eq_((found.args, 'not signed' in found.note), ((), True))
        for damaged in [b'', b'\xa1', body[:-1]]:
            eq_(show(codec, damaged)[:2], ((), {}))

    def test_partly(self):
        """What cannot be read is said, and the rest is shown."""
        codec = Codec('q')
        for format, payload, args, why in [
                (1, b'\x80\x04](K\x01K\x02', ('1', '2'), 'it is damaged (ValueError)'),
                (2, b'[[1', (), 'it is damaged (JSONDecodeError)'),
                (2, b'[' * 200_000, (), 'it is damaged (RecursionError)'),
                (3, b'\xdd\xff\xff\xff\xff', (), 'it is damaged (ValueError)'),
                (9, b'', (), 'its format cannot be read here')]:
            with self.subTest(format):
                body = call(keys=None)[1][:7]
                found = show(codec, body[:2] + bytes([format]) + body[3:] + payload)
                eq_(found, Arguments(args, {}, f'not all of it can be shown: {why}'))
        for strange in [b'K\x01.', b')}\x86.', b'NN\x86.', b'(K\x01K\x02K\x03t.']:
            head = call(keys=None)[1][:7]
            self.assertIsInstance(show(codec, head + b'\x80\x04' + strange), Arguments)

    def test_redact(self):
        """Arguments are hidden by position, or by name, whether that can be printed or not."""
        codec, body = call('one', 'two', **{'pass\x1b': 'three', 'x': {'pass\x1b': 4}})
        hidden = show(codec, body, redact=lambda task, key, text: (
            '***' if key in ['1', 'pass\x1b'] else text))
        eq_(hidden, Arguments(('***', "'two'"), {r'pass\x1b': '***', 'x': r"{'pass\x1b': ***}"}))


class Values(unittest.TestCase):

    def test_value(self):
        """A value is shown once it has verified, without being loaded."""
        codec = Codec('q', keys=KEYS)
        raw = LIFE.encode() + b'v' + codec.encode_value('id', LIFE, [Lost()])
        eq_(unpack(raw).kind, b'v')
        eq_(show_value(codec, 'id', raw, Show('f')), f'[{__name__}.Lost(a=1)]')
        eq_(show_value(codec, 'id', raw, Show('f', lambda task, key, text: key)), 'result')
        for bad in [raw[:-1], b'', raw.replace(b'nv', b'nx')]:
            with self.assertRaises(DecodeError):
                show_value(codec, 'id', bad, Show('f'))
        open = Codec('q')
        raw = LIFE.encode() + b'v' + open.encode_value('id', LIFE, [Lost()])
        eq_(show_value(open, 'id', raw[:-1], Show('f')),
            f'[{__name__}.Lost(a=1)] (it is damaged (ValueError))')
        eq_(show_value(open, 'id', raw[:20], Show('f')), '(it is damaged (ValueError))')
