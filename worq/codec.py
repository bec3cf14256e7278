"""Calls, values and failures to bytes and back: pickle, json, msgpack; signed.

An envelope is ::

    0        1        2        3            7                 23
    +--------+--------+--------+------------+------------------+-----------+
    | magic  | kind   | format | key id     | signature        | payload   |
    +--------+--------+--------+------------+------------------+-----------+

An unsigned one has key id zero and no signature. The signature is HMAC-SHA256, cut to 16 bytes
(RFC 2104, section 5), over bytes 0 to 7, the context and the payload. The context is what the
reader knows anyway, hence not stored: queue, task id, nonce and, for a call, its
header, each with its length before it. So an envelope that is altered, or moved to another
queue, task, life or role, does not verify; and nothing is loaded before it has verified.

This is the only module that loads pickles. It knows Deferreds only as objects whose
``__reduce__`` calls ``reduce_reference``, so ordinary objects pay nothing for them.
"""
from __future__ import annotations

import hmac
import json
import pickle
import threading
from collections.abc import Callable
from importlib.util import find_spec
from struct import Struct
from typing import Any, NamedTuple, NoReturn

from worq import blame, const, errors
from worq.errors import DecodeError, EncodeError, TaskFailure, UntrustedMessage, WorqError
from worq.printable import middle_out, task_name
from worq.trust import (
    CALL, FAILURE, KINDS, MEMO, UNSIGNED, VALUE, Key, Keyring, hmac_halves, keyring_for,
)

try:
    import msgpack
except ImportError:
    msgpack = None

__all__ = ['UNSIGNED', 'Keyring', 'keyring_for', 'Codec', 'UnknownKey', 'ByValue',
           'reduce_reference', 'msgpack']

Reference = Callable[[object], tuple[str, str]]
Resolve = Callable[[str, str], object]

MAGIC = 0xA1  # the low digit is the version
HEAD = 7
SIGNED = HEAD + 16
NO_KEY = bytes(4)
LENGTHS = Struct('>III').pack
LENGTH = Struct('>I').pack

WORDS = dict(zip(KINDS, ('call', 'value', 'failure', 'memo', 'tail call', 'argument')))
ERROR_LIMIT = 10_000      # characters of a failure's text ...
TRACEBACK_LIMIT = 64_000  # ... and of its traceback that are kept
NOTES, NOTE_LIMIT = 5, 1_000   # notes of a failure that are kept, and characters of each
FAILURES = {kind.__name__: kind for kind in (
    errors.TaskFailure, errors.TaskExpired, errors.TaskCancelled, errors.TaskTimeout,
    errors.DuplicateTask)}

#: Called once, before a pickle that names something of ``__main__`` is tried again. A pool's
#: child sets it, to import the main script of its parent only when something needs it.
main_loader: Callable[[], None] | None = None


class UnknownKey(UntrustedMessage):
    """It is signed, but with a key that is not known here; elsewhere it may be."""

    unknown_key = True


# -- references ----------------------------------------------------------------------


class ByValue(Exception):
    """Raised by a `reference` callable: `value` is to stand in the place of that Deferred."""

    def __init__(self, value: object) -> None:
        super().__init__(value)
        self.value = value


class _Here(threading.local):
    """What this thread is encoding or decoding: how it treats references."""

    reference: Reference | None = None
    resolve: Resolve | None = None


_here = _Here()


def reduce_reference(obj: object) -> tuple[Callable[..., object], tuple[object, ...]]:
    """What ``Deferred.__reduce__`` returns: the Deferred as a reference to its task.

    :raises TypeError: unless the arguments of a call are being encoded.
    """
    reference = _here.reference
    if reference is None:
        raise TypeError('a Deferred can be pickled only as an argument of a task '
                        '(or keep its id, and ask broker.deferred(id))')
    try:
        return resolve_reference, reference(obj)
    except ByValue as this:
        return stands_for, (this.value,)


def resolve_reference(id: str, nonce: str) -> object:
    """What a reference becomes when it is loaded. Its name is written in every pickle."""
    resolve = _here.resolve
    if resolve is None:
        raise TypeError('a Deferred that is not an argument of a task')
    return resolve(id, nonce)


def stands_for(value: object) -> object:
    """What a Deferred that goes by value becomes. Its name is written in pickles too."""
    return value


def plain_reference(obj: object, format: str) -> tuple[str, str]:
    """What stands for `obj` in a format of plain data.

    :raises TypeError: if it is no Deferred, or not in the arguments of a call.
    :raises ByValue: if its value is to stand there.
    """
    try:
        if _here.reference is not None:
            return _here.reference(obj)
    except TypeError:
        pass  # no Deferred
    raise blame.plain_error(obj, format)


# -- formats -------------------------------------------------------------------------


class Format(NamedTuple):
    """How objects become a payload. Both look up in `_here` what a reference is."""

    number: int
    dump: Callable[[object], bytes]
    load: Callable[[bytes], object]
    reads: frozenset[int]  #: numbers of the formats that a broker of this one accepts


def dump_by_value(obj: object) -> bytes:
    """A pickle which has those functions and classes in it that a reader could not import."""
    import cloudpickle   # dear to load
    return cloudpickle.dumps(obj, 5)   # type: ignore[no-any-return]


def dump_pickle(obj: object) -> bytes:
    return pickle.dumps(obj, 5)


def load_pickle(payload: bytes) -> object:
    try:
        return pickle.loads(payload)
    except (AttributeError, ImportError) as err:
        if '__main__' not in str(err) or not load_main():
            raise
    return pickle.loads(payload)


_main_lock = threading.RLock()
_main_loaded: Callable[[], None] | None = None


def load_main() -> bool:
    """Whether there is a `main_loader`; it has been called then."""
    global _main_loaded
    with _main_lock:
        if main_loader is not _main_loaded and main_loader is not None:
            _main_loaded = main_loader  # first: the script may well load pickles itself
            main_loader()
    return main_loader is not None


#: The key of a reference in json: ``{"$worq": [id, nonce]}``
MARK = '$worq'
_MARK_KEY = f'"{MARK}":'  # cannot stand inside a string, where its quotes would be escaped


def dump_json(obj: object) -> bytes:
    references = 0

    def default(part: object) -> object:
        nonlocal references
        try:
            found = plain_reference(part, 'json')
        except ByValue as this:
            return this.value
        references += 1
        return {MARK: found}

    text = json.dumps(obj, default=default, separators=(',', ':'))
    if _here.reference is not None and text.count(_MARK_KEY) != references:
        raise TypeError(f'json cannot hold a dict with the key {MARK!r}, which means a Deferred')
    return text.encode('ascii')


def load_json(payload: bytes) -> object:
    if _here.resolve is None or _MARK_KEY.encode() not in payload:
        return json.loads(payload)
    return json.loads(payload, object_hook=_from_mark)


def _from_mark(found: dict[str, Any]) -> object:
    return resolve_reference(*found[MARK]) if MARK in found else found


#: The extension type of a reference in msgpack; its data is ``[id, nonce]``
EXTENSION = 87


def dump_msgpack(obj: object) -> bytes:
    def default(part: object) -> object:
        try:
            found = plain_reference(part, 'msgpack')
        except ByValue as this:
            return this.value
        return msgpack.ExtType(EXTENSION, msgpack.packb(found))

    packed: bytes = msgpack.packb(obj, default=default)
    return packed


def load_msgpack(payload: bytes) -> object:
    if msgpack is None:
        raise ImportError('msgpack is not installed: pip install "WorQ[msgpack]"')
    hook = msgpack.ExtType if _here.resolve is None else _from_extension
    return msgpack.unpackb(payload, ext_hook=hook, strict_map_key=False)


def _from_extension(code: int, data: bytes) -> object:
    if code != EXTENSION:
        return msgpack.ExtType(code, data)
    return resolve_reference(*msgpack.unpackb(data))


# Only who asked for pickles ever loads one: with json or msgpack, and unsigned, a pickle that
# somebody slips into the queue stays a string of bytes.
FORMATS = {
    'pickle': Format(1, dump_pickle, load_pickle, frozenset([1, 2, 3])),
    'cloudpickle': Format(1, dump_by_value, load_pickle, frozenset([1, 2, 3])),
    'json': Format(2, dump_json, load_json, frozenset([2, 3])),
    'msgpack': Format(3, dump_msgpack, load_msgpack, frozenset([2, 3])),
}
LOADS = {format.number: format.load for format in FORMATS.values()}
JSON = FORMATS['json'].number


# -- the codec -----------------------------------------------------------------------


class Codec:
    """Encodes and decodes for one queue. Its methods may be called from any thread.

    It (1) turns objects into payloads and says what could not be, (2) signs and verifies, (3)
    turns payloads into objects.

    :param queue: name of the queue; a message of one queue does not verify in another.
    :param format: ``'pickle'`` for any object; ``'cloudpickle'``, for whoever reads pickles, also
        for what cannot be imported; ``'json'`` or ``'msgpack'``, which run no code when they are
        read, for plain data: tuples become lists and, in json, keys of dicts become strings.
    :param keys: who signs and verifies; with None nothing is signed, nor read if it is.
    :param max_payload: bytes that a message may have.
    :raises ValueError: for a format that does not exist.
    :raises ImportError: for msgpack or cloudpickle where it is not installed.
    """

    def __init__(self, queue: str, *, format: str = 'pickle', keys: Keyring | None = None,
                 max_payload: int = const.MAX_PAYLOAD) -> None:
        if format not in FORMATS:
            raise ValueError(f'codec is one of {", ".join(FORMATS)}, not {format!r}')
        if format == 'msgpack' and msgpack is None \
                or format == 'cloudpickle' and not find_spec(format):
            raise ImportError(f'codec={format!r} needs a package: '
                              f'pip install "WorQ[{format}]"')
        max_payload = const.check_count('max_payload', max_payload, most=const.PAYLOAD)
        self.queue = queue
        self.format = format
        self.keys = keys
        self.max_payload = max_payload
        self._number, self._dump, _, self._reads = FORMATS[format]
        name = queue.encode()
        self.scope = LENGTH(len(name)) + name   # what each signature begins with
        key_id = keys.signs.id if keys else NO_KEY
        self._heads = {kind: bytes([MAGIC, kind, self._number]) + key_id for kind in KINDS}
        self._failure_head = bytes([MAGIC, FAILURE, JSON]) + key_id
        self._memo_head = bytes([MAGIC, MEMO, JSON]) + key_id

    def __repr__(self) -> str:
        trust = 'unsigned' if self.keys is None else 'signed'
        return f'<Codec {self.format} {trust} [{self.queue}]>'

    def encode_call(self, id: str, nonce: str, header: bytes, args: tuple[Any, ...],
                    kwargs: dict[str, Any], reference: Reference) -> bytes:
        """The body of a task.

        :param header: travels beside the body, readable; the signature holds it too.
        :param reference: (id, nonce) for a Deferred; raises TypeError for anything else.
        :raises EncodeError: naming the argument, and the part of it, that is the matter.
        """
        try:
            payload = self._dump_with(reference, (args, kwargs))
        except WorqError:
            raise
        except Exception as err:
            self._blame_call(header, args, kwargs, reference, err)
        if len(payload) > self.max_payload:
            self._too_large(f'the arguments of {task_name(header)}', payload)
        return self.seal(self._heads[CALL], id, nonce, header, payload)

    def decode_call(self, id: str, nonce: str, header: bytes, body: bytes, resolve: Resolve,
                    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of a task: positional ones, and those by name.

        :param resolve: gives the value that stands for a Deferred, by (id, nonce). It is asked
            once for each, so that what was one object is one object again.
        :raises UntrustedMessage: before anything is loaded, if it does not verify.
        :raises DecodeError: if it cannot be loaded here. A WorqError that `resolve`
            raises passes as it is.
        """
        known: dict[str, object] = {}  # by id: a call has no two lives of one

        def resolve_once(id: str, nonce: str) -> object:
            if id not in known:
                known[id] = resolve(id, nonce)
            return known[id]

        loaded: Any = self._load(CALL, id, nonce, header, body, resolve_once)
        try:
            args, kwargs = loaded
            return tuple(args), dict(kwargs)
        except (TypeError, ValueError) as err:
            raise DecodeError(f'{self._what(id, header)} are not those of a call') from err

    def encode_value(self, id: str, nonce: str, value: object) -> bytes:
        """The value that a task came to.

        :raises EncodeError: naming the part of it that is the matter.
        """
        try:
            payload = self._dump_with(None, value)
        except WorqError:
            raise
        except Exception as err:
            path, cause = self._blame(value, err, lambda part: self._dump_with(None, part),
                                      'return')
            raise EncodeError(f'the result{path}: {blame.describe(cause)}') from err
        if len(payload) > self.max_payload:
            self._too_large('the result', payload)
        return self.seal(self._heads[VALUE], id, nonce, b'', payload)

    def decode_value(self, id: str, nonce: str, data: bytes) -> object:
        """The value in an envelope. It raises what ``decode_call`` does."""
        return self._load(VALUE, id, nonce, b'', data, None)

    def encode_failure(self, nonce: str, failure: TaskFailure) -> bytes:
        """A failure as text, never as a pickle: any reader can read it and it runs nothing.

        What is too long loses its middle. A subclass that WorQ does not know becomes the nearest
        one that it does. It is signed for the task ``failure.task_id``.
        """
        kind = next(base for base in type(failure).__mro__ if base.__name__ in FAILURES)
        notes = [middle_out(str(note), NOTE_LIMIT) for note in getattr(failure, '__notes__', ())]
        payload = json.dumps({
            'type': kind.__name__,
            'name': str(failure.task_name),
            'queue': str(failure.queue),
            'id': str(failure.task_id),
            'error': middle_out(str(failure.error), ERROR_LIMIT),
            'traceback': middle_out(str(failure.traceback), TRACEBACK_LIMIT),
            **({'notes': notes[:NOTES]} if notes else {}),
        }, separators=(',', ':')).encode('ascii')
        return self.seal(self._failure_head, failure.task_id, nonce, b'', payload)

    def decode_failure(self, id: str, nonce: str, data: bytes) -> TaskFailure:
        """The failure in an envelope; it raises what ``decode_call`` does."""
        payload = self.open(FAILURE, id, nonce, b'', data)
        try:
            record = json.loads(payload)
            kind = FAILURES.get(record['type'], TaskFailure)
            failure = kind(*(str(record[field]) for field in (
                'name', 'queue', 'id', 'error', 'traceback')))
            for note in record.get('notes', ()):
                failure.add_note(str(note))
            return failure
        except Exception as err:
            raise DecodeError(f'the failure of [{self.queue}:{id}] is damaged') from err

    def encode_memo(self, id: str, nonce: str, text: bytes) -> bytes:
        """What an attempt of a task leaves to the next one, as JSON; signed like the rest."""
        return self.seal(self._memo_head, id, nonce, b'', text)

    def decode_memo(self, id: str, nonce: str, data: bytes) -> bytes:
        """The text in an envelope.

        :raises UntrustedMessage: if it does not verify.
        """
        return self.open(MEMO, id, nonce, b'', data)

    # -- objects and payloads --

    def _dump_with(self, reference: Reference | None, obj: object) -> bytes:
        # What is pickled may pickle something itself, so the outer state comes back.
        outer = _here.reference
        if reference is outer:
            return self._dump(obj)
        _here.reference = reference
        try:
            return self._dump(obj)
        finally:
            _here.reference = outer

    def _load(self, kind: int, id: str, nonce: str, header: bytes, data: bytes,
              resolve: Resolve | None) -> object:
        payload = self.open(kind, id, nonce, header, data)
        if data[2] not in self._reads:
            raise UntrustedMessage(
                f'{self._what(id, header)} came in another format than codec='
                f'{self.format!r} reads; all who use a queue must use the same')
        outer = _here.resolve
        _here.resolve = resolve
        try:
            return LOADS[data[2]](payload)
        except WorqError:
            raise
        except Exception as err:
            whose = blame.script(err, 'calls' if header else 'runs the task')
            raise DecodeError(f'{self._what(id, header)} cannot be loaded here: '
                              f'{blame.describe(err)}{whose}') from err
        finally:
            _here.resolve = outer

    def _what(self, id: str, header: bytes) -> str:
        of = f'the arguments of {task_name(header)}' if header else 'the result'
        return f'{of} [{self.queue}:{id}]'

    def _blame_call(self, header: bytes, args: tuple[Any, ...], kwargs: dict[str, Any],
                    reference: Reference, error: Exception) -> NoReturn:
        named = [(f'argument {n}', arg) for n, arg in enumerate(args, 1)]
        named += [(f'argument {name!r}', arg) for name, arg in kwargs.items()]

        def attempt(part: object) -> bytes:
            return self._dump_with(reference, part)

        for which, arg in named:
            if (cause := blame.failure_of(arg, attempt)) is not None:
                path, cause = self._blame(arg, cause, attempt)
                at = f', at {path}' if path else ''
                raise EncodeError(f'{which} of {task_name(header)}{at}: '
                                  f'{blame.describe(cause)}') from error
        raise EncodeError(f'the arguments of {task_name(header)}: '
                          f'{blame.describe(error)}') from error

    def _blame(self, obj: object, error: Exception, attempt: blame.Attempt,
               verb: str = 'pass') -> tuple[str, Exception]:
        parts = blame.parts if self.format == 'pickle' else blame.plain_parts
        return blame.find(obj, error, attempt, parts, verb)

    def _too_large(self, what: str, payload: bytes) -> NoReturn:
        raise EncodeError(f'{what}: {len(payload):,} bytes are more than the '
                          f'{self.max_payload:,} that max_payload allows')

    # -- envelopes --

    def seal(self, head: bytes, id: str, nonce: str, header: bytes, payload: bytes) -> bytes:
        if self.keys is None:
            return head + payload
        signature = self._sign(self.keys.signs, head, id, nonce, header, payload)
        return b''.join((head, signature, payload))

    def open(self, kind: int, id: str, nonce: str, header: bytes, data: bytes) -> bytes:
        """The payload of an envelope, once it has verified."""
        if self.keys is None and data.startswith(self._heads[kind]):
            return data[HEAD:]
        head = data[:HEAD]
        if len(head) < HEAD or head[0] != MAGIC or head[1] != kind:
            self._distrust(kind, id, 'it is damaged, or of another version of WorQ')
        key_id = head[3:]
        if self.keys is None:
            if key_id != NO_KEY:
                self._distrust(kind, id, 'it is signed, and this broker knows no secret: '
                               'give it the secret of those who sign')
            return data[HEAD:]
        if key_id == NO_KEY:
            self._distrust(kind, id, 'it is not signed: whoever sent it needs the secret too')
        key = self.keys.find(key_id)
        if key is None:
            raise UnknownKey(f'the {WORDS[kind]} of [{self.queue}:{id}] is signed with a key '
                             f'({key_id.hex()}) that is unknown here: set the same secret, '
                             'WORQ_SECRET or secret=, on both sides')
        payload = data[SIGNED:]
        signature = self._sign(key, head, id, nonce, header, payload)
        if not hmac.compare_digest(signature, data[HEAD:SIGNED]):
            self._distrust(kind, id, 'its signature does not fit: it was altered, or '
                           'belongs elsewhere')
        return payload

    def _distrust(self, kind: int, id: str, why: str) -> NoReturn:
        raise UntrustedMessage(
            f'the {WORDS[kind]} of [{self.queue}:{id}] is not trusted: {why}')

    def _sign(self, key: Key, head: bytes, id: str, nonce: str, header: bytes,
              payload: bytes) -> bytes:
        task, life = id.encode(), nonce.encode()
        context = b''.join((head, self.scope, LENGTHS(len(task), len(life), len(header)),
                            task, life, header))
        inner, outer = hmac_halves(key.derived[head[1]])
        inner, outer = inner.copy(), outer.copy()
        inner.update(context)
        inner.update(payload)
        outer.update(inner.digest())
        return outer.digest()[:16]
