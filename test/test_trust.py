"""Who is believed: signatures, keys; nothing unverified is ever loaded."""
from __future__ import annotations

import ast
import hashlib
import hmac
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import TestCase, mock

import worq
from test import support
from worq import codec, trust
from worq.codec import UNSIGNED, Codec, Keyring, UnknownKey
from worq.errors import DecodeError, TaskFailure, UntrustedMessage
from worq.pool.thread import WorkerPool
from worq.retry import Memo

NONCE = 'abcdefghijkl'
HEADER = b'mod.func\n{}'
SECRET = 'sixteen bytes or more'
KEYS = Keyring([SECRET])


def signed(format: str) -> Codec:
    return Codec('q', format=format, keys=KEYS)


def no_reference(obj: object) -> tuple[str, str]:
    raise TypeError


def no_resolve(id: str, nonce: str) -> object:
    raise AssertionError('there is no reference')


def call(c: Codec, id: str = 'id', nonce: str = NONCE, header: bytes = HEADER) -> bytes:
    return c.encode_call(id, nonce, header, (1, 'two'), {'x': None}, no_reference)


def read_call(c: Codec, data: bytes, id: str = 'id', nonce: str = NONCE,
              header: bytes = HEADER) -> Any:
    return c.decode_call(id, nonce, header, data, no_resolve)


def envelopes(c: Codec) -> list[tuple[bytes, Callable[[bytes], object]]]:
    """One envelope of each kind, and how it is read."""
    failure = TaskFailure('mod.func', c.queue, 'id', 'ValueError: no', 'Traceback')
    return [
        (call(c), lambda data: read_call(c, data)),
        (c.encode_value('id', NONCE, [1, 'two']), lambda data: c.decode_value('id', NONCE, data)),
        (c.encode_failure(NONCE, failure), lambda data: c.decode_failure('id', NONCE, data)),
        (c.encode_memo('id', NONCE, Memo(1, ('no',)).encode()),
         lambda data: Memo.decode(c.decode_memo('id', NONCE, data))),
    ]


class Tripwire:
    """While it stands, nothing is loaded; whoever tries is counted."""

    def __init__(self) -> None:
        self.loaded = 0

    def trip(self, *args: object, **kw: object) -> object:
        self.loaded += 1
        raise AssertionError('loaded something that had not verified')

    def __enter__(self) -> Tripwire:
        self.patches = [
            mock.patch.object(pickle, 'loads', self.trip),
            mock.patch.object(codec.json, 'loads', self.trip),
            mock.patch.object(codec.msgpack, 'unpackb', self.trip)]
        for patch in self.patches:
            patch.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        for patch in self.patches:
            patch.stop()
        assert not self.loaded


class Signatures(TestCase):

    def assert_refused(self, read: Callable[[bytes], object], data: bytes) -> None:
        with self.assertRaises(UntrustedMessage):
            read(data)

    def test_tripwire(self) -> None:
        """The tripwire of these tests does trip over a message that verifies."""
        for format in codec.FORMATS:
            for data, read in envelopes(Codec('q', format=format, keys=KEYS)):
                read(data)
                wire = Tripwire()
                with self.assertRaises(AssertionError), wire, self.assertRaises(DecodeError):
                    read(data)
                self.assertEqual(wire.loaded, 1)

    def test_every_bit(self) -> None:
        """A message with any one bit flipped is refused and not loaded."""
        for format in codec.FORMATS:
            for data, read in envelopes(Codec('q', format=format, keys=KEYS)):
                with Tripwire():
                    for bit in range(8 * len(data)):
                        flipped = bytearray(data)
                        flipped[bit // 8] ^= 1 << bit % 8
                        self.assert_refused(read, bytes(flipped))

    def test_cut_and_extended(self) -> None:
        """A message cut anywhere, or with anything before or behind it, is refused."""
        for data, read in envelopes(Codec('q', keys=KEYS)):
            with Tripwire():
                for size in range(len(data)):
                    self.assert_refused(read, data[:size])
                    self.assert_refused(read, data[size + 1:])
                for more in [b'\0', b'.', data]:
                    self.assert_refused(read, data + more)
                    self.assert_refused(read, more + data)

    def test_transplanted(self) -> None:
        """A message is good for its own queue, task, life, header and role, and nowhere else."""
        c, other = Codec('q', keys=KEYS), Codec('r', keys=KEYS)
        body, value, failure, memo = (data for data, _ in envelopes(c))
        with Tripwire():
            for read in [
                lambda: read_call(other, body),
                lambda: read_call(c, body, id='ie'),
                lambda: read_call(c, body, nonce='abcdefghijkm'),
                lambda: read_call(c, body, header=b'mod.other\n{}'),
                lambda: read_call(c, body, header=HEADER + b' '),
                lambda: read_call(c, body, header=b''),
                lambda: read_call(c, value), lambda: read_call(c, failure),
                lambda: other.decode_value('id', NONCE, value),
                lambda: c.decode_value('ie', NONCE, value),
                lambda: c.decode_value('id', 'abcdefghijkm', value),
                lambda: c.decode_value('id', NONCE, body),
                lambda: c.decode_value('id', NONCE, failure),
                lambda: other.decode_failure('id', NONCE, failure),
                lambda: c.decode_failure('ie', NONCE, failure),
                lambda: c.decode_failure('id', 'abcdefghijkm', failure),
                lambda: c.decode_failure('id', NONCE, body),
                lambda: c.decode_failure('id', NONCE, value),
                lambda: other.decode_memo('id', NONCE, memo),
                lambda: c.decode_memo('ie', NONCE, memo),
                lambda: c.decode_memo('id', 'abcdefghijkm', memo),
                lambda: c.decode_memo('id', NONCE, failure),
                lambda: c.decode_failure('id', NONCE, memo),
            ]:
                self.assertRaises(UntrustedMessage, read)

    def test_relabelled(self) -> None:
        """A message of one kind that is labelled as another has the wrong key."""
        c = Codec('q', keys=KEYS)
        body = c.encode_call('id', NONCE, b'', (1,), {}, no_reference)
        with Tripwire():
            relabelled = bytes([body[0], codec.VALUE]) + body[2:]
            self.assertRaises(UntrustedMessage, c.decode_value, 'id', NONCE, relabelled)

    def test_borders(self) -> None:
        """Characters cannot move between queue, id, nonce, header and payload."""
        def sign(queue: str, id: str, nonce: str, header: bytes, payload: bytes) -> bytes:
            c = Codec(queue, keys=KEYS)
            return c._sign(KEYS.signs, c._heads[codec.CALL], id, nonce, header, payload)

        contexts = [('qq', 'i', 'n', b'h', b'p'), ('q', 'qi', 'n', b'h', b'p'),
                    ('qqi', '', 'n', b'h', b'p'), ('qq', 'in', '', b'h', b'p'),
                    ('qq', 'i', 'nh', b'', b'p'), ('qq', 'i', 'n', b'hp', b''),
                    ('qq', 'i', 'n', b'', b'hp'), ('', 'qqi', 'n', b'h', b'p')]
        self.assertEqual(len({sign(*context) for context in contexts}), len(contexts))

    def test_any_name(self) -> None:
        """Names and ids may hold any characters."""
        c = Codec('queue: ü\n', keys=KEYS)
        for id in ['ü' * 250, 'a b:c\nd', '\0', '{}']:
            self.assertEqual(c.decode_value(id, NONCE, c.encode_value(id, NONCE, id)), id)

    def test_large(self) -> None:
        """Large payloads are signed like small ones."""
        c = Codec('q', keys=KEYS)
        for size in [0, 64 << 10, 1 << 20]:
            data = c.encode_value('id', NONCE, bytes(size))
            self.assertEqual(c.decode_value('id', NONCE, data), bytes(size))
            with Tripwire():
                self.assert_refused(lambda raw: c.decode_value('id', NONCE, raw),
                                    data[:-2] + b'\1' + data[-1:])

    def test_prepared(self) -> None:
        """The two halves of an HMAC, filled in, are the HMAC: for any message, time and again."""
        key = KEYS.signs.derived[trust.CALL]
        for size in [0, 55, 56, 64, 1000, 1 << 17, 0]:
            message = bytes(size)
            inner, outer = (half.copy() for half in trust.hmac_halves(key))
            inner.update(message)
            outer.update(inner.digest())
            self.assertEqual(outer.digest(), hmac.digest(key, message, 'sha256'))

    def test_by_the_book(self) -> None:
        """The signature is what delivery, RFC 2104 and RFC 5869 say, computed here by hand."""
        def sized(text: bytes) -> bytes:
            return len(text).to_bytes(4, 'big') + text

        data = call(Codec('q', format='json', keys=KEYS))
        extracted = hmac.new(b'worq', SECRET.encode(), hashlib.sha256).digest()
        key_id = hmac.new(extracted, b'worq key id\1', hashlib.sha256).digest()[:4]
        key = hmac.new(extracted, b'worq message c\1', hashlib.sha256).digest()
        payload = b'[[1,"two"],{"x":null}]'
        head = b'\xa1c\x02' + key_id
        lengths = b''.join(len(part).to_bytes(4, 'big') for part in [b'id', NONCE, HEADER])
        signed = head + sized(b'q') + lengths + b'id' + NONCE.encode() + HEADER + payload
        signature = hmac.new(key, signed, hashlib.sha256).digest()[:16]
        self.assertEqual(data, head + signature + payload)

    def test_golden(self) -> None:
        """Messages that this version has written are written and read like that for ever."""
        for format, golden in GOLDEN.items():
            found = envelopes(Codec('q', format=format, keys=KEYS))
            self.assertEqual([data.hex() for data, _ in found], golden)
            args, value, failure, memo = (read(bytes.fromhex(text))
                                          for (_, read), text in zip(found, golden, strict=True))
            self.assertEqual(args, ((1, 'two'), {'x': None}))
            self.assertEqual(value, [1, 'two'])
            self.assertEqual(failure, TaskFailure('mod.func', 'q', 'id', 'ValueError: no'))
            self.assertEqual(memo, Memo(1, ('no',)))


class Canary:
    """Sings if it is ever loaded."""

    sang = 0

    def __reduce__(self) -> Any:
        return sing, ()


def sing() -> None:
    Canary.sang += 1


class Canaries(TestCase):

    def test_raw_pickles(self) -> None:
        """A pickle written into a queue, bare or in any unsigned envelope, never runs."""
        canary = pickle.dumps(Canary())
        heads = [b'', *(bytes([codec.MAGIC, kind, number]) + key_id + signature
                        for kind in trust.KINDS for number in (0, 1, 2, 3, 255)
                        for key_id in (bytes(4), KEYS.signs.id, b'\xff' * 4)
                        for signature in (b'', bytes(16), b'\xff' * 16))]
        for format in codec.FORMATS:
            c = Codec('q', format=format, keys=KEYS)
            for head in heads:
                for _, read in envelopes(c):
                    self.assertRaises(UntrustedMessage, read, head + canary)
        self.assertEqual(Canary.sang, 0)

    def test_bird_can_sing(self) -> None:
        """The canary of these tests sings where messages are believed unsigned."""
        before = Canary.sang
        data = Codec('q').encode_value('id', NONCE, Canary())
        Codec('q').decode_value('id', NONCE, data)
        self.assertEqual(Canary.sang, before + 1)
        Canary.sang = before

    def test_plain_formats(self) -> None:
        """A broker of json or msgpack never loads a pickle, signed or not."""
        for keys in [None, KEYS]:
            data = Codec('q', keys=keys).encode_value('id', NONCE, Canary())
            for format in ['json', 'msgpack']:
                c = Codec('q', format=format, keys=keys)
                self.assertRaises(UntrustedMessage, c.decode_value, 'id', NONCE, data)
        self.assertEqual(Canary.sang, 0)

    def test_one_place(self) -> None:
        """Only the codec loads pickles, and only there where it has verified them.

        A child's first frame is an exception: it comes over a pipe from its own parent.
        """
        found = []
        loaders = {'pickle', '_pickle', 'cPickle', 'marshal', 'shelve', 'dill', 'cloudpickle'}
        root = Path(worq.__file__).parent
        for path in sorted(root.rglob('*.py')):
            for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    if node.value.id in loaders and node.attr in ('load', 'loads', 'Unpickler'):
                        found.append(path.relative_to(root).as_posix())
                elif isinstance(node, ast.ImportFrom) and node.module in loaders:
                    self.assertNotIn('load', ' '.join(alias.name for alias in node.names), path)
                elif isinstance(node, ast.Import):
                    for alias in node.names:  # under its own name, so that we can see it
                        self.assertFalse(alias.name in loaders and alias.asname, path)
        self.assertLessEqual(set(found), {'codec.py', 'pool/children/begin.py'})
        self.assertEqual(found.count('codec.py'), 2)
        self.assertLessEqual(found.count('pool/children/begin.py'), 1)


class Keys(TestCase):

    def test_rotation(self) -> None:
        """Secrets change without a gap: the first signs, all verify."""
        old, new = 'the old secret, 16 bytes', 'the new secret, 16 bytes'
        steps = [Codec('q', keys=Keyring(secrets))
                 for secrets in ([old], [old, new], [new, old], [new])]
        for before, after in zip(steps, steps[1:], strict=False):
            for writer, reader in [(before, after), (after, before)]:
                self.assertEqual(read_call(reader, call(writer)), ((1, 'two'), {'x': None}))
        self.assertEqual(call(steps[0]), call(steps[1]))
        self.assertEqual(call(steps[2]), call(steps[3]))

    def test_rotation_under_load(self) -> None:
        """While secrets change step by step, pools and callers one after the other, every call
        is run and every result is read."""
        url, name = support.redis_url(), support.unique()
        self.addCleanup(support.clean, url, name)
        old, new = 'the old secret, 16 bytes', 'the new secret, 16 bytes'
        steps = [[old], [old, new], [new, old], [new]]
        done: list[int] = []
        secrets = steps[0]
        stopped = threading.Event()

        def call() -> None:
            while not stopped.is_set():
                with worq.get_broker(url, name, secret=secrets) as broker:
                    q = broker.queue()
                    many = [q.len(q.str(10 ** n)) for n in range(5)]
                    done.extend(d.result(timeout=30) - n for n, d in enumerate(many))
        caller = threading.Thread(target=call, daemon=True)
        caller.start()
        for step in steps:
            before = len(done)
            with worq.get_broker(url, name, secret=step) as broker:
                broker.expose(len)
                broker.expose(str)
                with WorkerPool(broker):
                    support.eventually(lambda before=before: len(done) > before, timeout=30)
                    secrets, before = step, len(done)   # callers follow the pools
                    support.eventually(lambda before=before: len(done) > before + 10, timeout=30)
                    if step is steps[-1]:
                        stopped.set()
                        caller.join(30)
        self.assertFalse(caller.is_alive())
        self.assertEqual(set(done), {1})

    def test_unknown(self) -> None:
        """A message of an unknown key says so, for a pool to hand it on to others."""
        for format in codec.FORMATS:
            other = Codec('q', format=format, keys=Keyring(['some other secret, 16']))
            for (data, _), (_, read) in zip(envelopes(other), envelopes(signed(format))):
                with Tripwire(), self.assertRaises(UnknownKey) as caught:
                    read(data)
                self.assertIs(caught.exception.unknown_key, True)
                self.assertIn('WORQ_SECRET', str(caught.exception))
                self.assertIn('[q:id]', str(caught.exception))

    def test_forged_is_not_unknown(self) -> None:
        """A wrong signature of a known key is nothing to hand on."""
        for data, read in envelopes(signed('json')):
            with Tripwire(), self.assertRaises(UntrustedMessage) as caught:
                read(data[:-1] + b'x')
            self.assertFalse(getattr(caught.exception, 'unknown_key', False))

    def test_mixed(self) -> None:
        """Signed and unsigned brokers refuse each other's messages, of whatever kind, and say what
        to do."""
        for format in codec.FORMATS:
            plain = Codec('q', format=format)
            pairs = zip(envelopes(signed(format)), envelopes(plain), strict=True)
            for (sealed, read_signed), (open_one, read_plain) in pairs:
                with Tripwire():
                    with self.assertRaisesRegex(UntrustedMessage, 'not signed.*needs the secret'):
                        read_signed(open_one)
                    with self.assertRaisesRegex(UntrustedMessage, 'knows no secret: give it'):
                        read_plain(sealed)

    def test_stripped(self) -> None:
        """A signed message whose signature has been taken off is refused as one without."""
        for format in codec.FORMATS:
            for data, read in envelopes(signed(format)):
                with Tripwire(), self.assertRaisesRegex(UntrustedMessage, 'not signed'):
                    read(data[:3] + bytes(4) + data[codec.SIGNED:])

    def test_unknown_kind(self) -> None:
        """What says that it is of another kind or version is refused, signed or not."""
        for keys in [KEYS, None]:
            for data, read in envelopes(Codec('q', keys=keys)):
                for wrong in [bytes([data[0] ^ 1]) + data[1:], data[:1] + b'z' + data[2:],
                              *(data[:1] + bytes([kind]) + data[2:] for kind in trust.KINDS
                                if kind != data[1])]:
                    with Tripwire(), self.assertRaisesRegex(UntrustedMessage, 'another version'):
                        read(wrong)

    def test_garbage_unsigned(self) -> None:
        """Where nothing is signed, garbage is a DecodeError too."""
        for data in [b'', b'x', bytes(30), pickle.dumps(1)]:
            for _, read in envelopes(Codec('q')):
                self.assertRaises(DecodeError, read, data)

    def test_short(self) -> None:
        """A secret that could be guessed, or none, is refused; so is what is no secret."""
        for secrets in [['x' * 15], [SECRET, 'short'], [''], [b''], []]:
            self.assertRaises(ValueError, Keyring, secrets)
        self.assertRaises(TypeError, Keyring, [5])
        with self.assertRaisesRegex(TypeError, 'a secret is text or bytes, not int'):
            trust.keyring_for('redis://localhost', 5)
        self.assertEqual(Keyring([b'x' * 16]).signs, Keyring(['x' * 16]).signs)

    def test_shown(self) -> None:
        """No secret and no derived key can be read where things are shown."""
        shown = repr(KEYS) + repr(Codec('q', keys=KEYS)) + str(vars(Codec('q', keys=KEYS)))
        self.assertNotIn(SECRET, shown)
        self.assertEqual([repr(Codec('q')), repr(Codec('q', keys=KEYS))],
                         ['<Codec pickle unsigned [q]>', '<Codec pickle signed [q]>'])
        for derived in KEYS.signs.derived.values():
            self.assertNotIn(repr(derived), shown)

    def test_unsigned_sentinel(self) -> None:
        """UNSIGNED is itself after a pickle, so that a child can be given it."""
        self.assertIs(pickle.loads(pickle.dumps(UNSIGNED)), UNSIGNED)
        self.assertEqual(repr(UNSIGNED), 'worq.UNSIGNED')


GOLDEN = {
    'pickle': [
        'a16301a84abd8e1df4a37cf087350f415da8e1a73ea0bc80059515000000000000004b018c037477'
        '6f9486947d948c0178944e7386942e',
        'a17601a84abd8e3368fc9ea9b5a20e991170a22946b2df8005950d000000000000005d94284b018c'
        '0374776f94652e',
        'a16602a84abd8ee68eded853c7caa7a393b52f952af3da7b2274797065223a225461736b4661696c'
        '757265222c226e616d65223a226d6f642e66756e63222c227175657565223a2271222c226964223a'
        '226964222c226572726f72223a2256616c75654572726f723a206e6f222c2274726163656261636b'
        '223a2254726163656261636b227d',
        'a16d02a84abd8e68a089311a4ae13c1f7d2af8e7f471df5b312c20226e6f225d',
    ],
    'json': [
        'a16302a84abd8ecc454776089ab48c12ed73968a518fa55b5b312c2274776f225d2c7b2278223a6e'
        '756c6c7d5d',
        'a17602a84abd8e66a28e9d79361fe8c7b8087a3515895b5b312c2274776f225d',
        'a16602a84abd8ee68eded853c7caa7a393b52f952af3da7b2274797065223a225461736b4661696c'
        '757265222c226e616d65223a226d6f642e66756e63222c227175657565223a2271222c226964223a'
        '226964222c226572726f72223a2256616c75654572726f723a206e6f222c2274726163656261636b'
        '223a2254726163656261636b227d',
        'a16d02a84abd8e68a089311a4ae13c1f7d2af8e7f471df5b312c20226e6f225d',
    ],
    'msgpack': [
        'a16303a84abd8ed56a2d5d06406c055d3ea5b67ba8562a929201a374776f81a178c0',
        'a17603a84abd8eb717dd0d162197909481763eebe334429201a374776f',
        'a16602a84abd8ee68eded853c7caa7a393b52f952af3da7b2274797065223a225461736b4661696c'
        '757265222c226e616d65223a226d6f642e66756e63222c227175657565223a2271222c226964223a'
        '226964222c226572726f72223a2256616c75654572726f723a206e6f222c2274726163656261636b'
        '223a2254726163656261636b227d',
        'a16d02a84abd8e68a089311a4ae13c1f7d2af8e7f471df5b312c20226e6f225d',
    ],
}
