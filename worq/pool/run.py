"""Run one delivery, to an outcome.

A flat pipeline: look the task up, read its arguments, call it, encode what it returned. Each
step may end it with a failure. Whatever happens in the task or in what it was given, ``run``
answers an `Outcome`, so a pool's loop has no special cases.
"""
from __future__ import annotations

from contextvars import Context, copy_context
from itertools import islice
import logging
import time
import traceback
from types import CoroutineType, TracebackType
from typing import Any, Callable, Iterable, Iterator, NamedTuple, Protocol

from worq import const, mistakes, retry, seals
from worq.core import Broker
from worq.current import Control, CurrentTask, overtime
from worq.errors import (
    Cancelled, DecodeError, EncodeError, Retry, TaskFailure, TaskTimeout, UntrustedMessage,
)
from worq.printable import line, logger
from worq.pool import forks
from worq.pool.skip import leave_out, one_of_two
from worq.queue.base import Argument, Delivery, Outcome
from worq.retry import Memo, Policy
from worq.shield import running
from worq.task import Deferred

__all__ = ['Call', 'Run', 'contexts', 'run', 'runner']

log = logger(__name__)

UNKNOWN = 'no such task'   # and no more, as in WorQ 1.x, whose programs compare it: a note has it
MANY = 1_000   # exceptions in groups and chains, beyond which Python is not asked to format them
SHOWN = 10     # ... of these
BESIDE = 3   # members of a group of exceptions that an error names, besides the one that decides


class Completes(Protocol):
    """Of a `Control`, what a call needs."""

    def complete(self, coroutine: CoroutineType[Any, Any, Any]) -> Any:
        """Run the coroutine that the function has returned, and return its value."""


class Free(Control):
    """No hold at all: what runs, runs to its end."""

    def begin(self, task: CurrentTask, limit: float | None, will: Outcome | None) -> None:
        pass

    def complete(self, coroutine: CoroutineType[Any, Any, Any]) -> Any:
        import asyncio   # see Interrupter.complete
        return asyncio.run(forks.only_here(coroutine))

    def end(self) -> None:
        pass


FREE = Free()


def run(broker: Broker, delivery: Delivery, control: Control = FREE) -> Outcome:
    """Run a task; never raises. If it forks, the copy that comes back from it ends.

    ==================================================== =====================
    what happens                                         the outcome's word
    ==================================================== =====================
    it returns a value                                   value
    it returns a Deferred of this queue (a tail call)    delegate
it has, long ago, and the value is to be signed      value
    it raises anything, SystemExit included              retry or failure
    its arguments or its result cannot be coded          failure
    no task of that name                                 unknown
    it is signed with another secret                     refuse
    ==================================================== =====================
    """
    this = Run(broker, delivery)
    try:
        outcome = this.outcome(control)
        return outcome._replace(skipped=this.skipped) if this.skipped else outcome
    except BaseException as err:
        # Only what is scarce, memory or stack, can bring us here: say the least.
        return this.failure(type(err).__name__ + ': ')


def runner(broker: Broker, control: Control = FREE) -> Callable[[Delivery], Outcome]:
    """Runs the tasks of one worker, each in a fresh copy of the context that is in force now.

    So no task sees what another has left in a ``ContextVar``: a user, a locale, an open batch.
    """
    fresh = contexts()
    return lambda delivery: fresh().run(run, broker, delivery, control)


def contexts() -> Callable[[], Context]:
    """What makes copies of the context that is in force now, for one task each."""
    base = copy_context()
    # The one value in the standard library that is changed in place: whoever has set a precision
    # before would share it with all tasks. Where nobody has, each begins without.
    decimals = [(var, value) for var, value in base.items() if var.name == 'decimal_context']
    if not decimals:
        return base.copy

    def with_decimals() -> Context:
        context = base.copy()
        for var, value in decimals:
            context.run(var.set, value.copy())
        return context
    return with_decimals


class Call(NamedTuple):
    """A call that has been read."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kw: dict[str, Any]
    task: CurrentTask
    limit: float | None      # seconds that it may take
    will: Outcome | None     # what it comes to then, if it has to be killed


class Run:
    """One delivery on its way: 1. read; 2. call; 3. encode; 4. after an error."""

    memo = Memo()
    policy = Policy()
    given: dict[str, bytes] | None = None   # arguments by id, once they are asked for
    values: list[object] | None = None      # what they came to, if some may be left out
    skipped = 0                             # how many of them were

    def __init__(self, broker: Broker, delivery: Delivery) -> None:
        self.broker = broker
        self.delivery = delivery
        self.name = delivery.header.partition(b'\n')[0].decode('utf-8', 'replace')
        self.nonce = delivery.token[:const.NONCE].decode('ascii')

    def outcome(self, control: Control) -> Outcome:
        call = self.prepare(control)
        if isinstance(call, Outcome):
            return call
        here = running.set(call.task)
        try:
            try:
                control.begin(call.task, call.limit, call.will)
                value = self.call(control, call.function, call.args, call.kw)
            finally:
                control.end()
        except BaseException as err:
            control.end()   # again: what interrupts the task may have hit the first before it began
            return self.failed(err, call, 2)   # frames: this one and that of `call`
        finally:
            running.reset(here)
        return self.encode(value)

    def prepare(self, control: Control) -> Call | Outcome:
        """Read the call; or what it comes to without one."""
        if self.delivery.memo and seals.is_seal(self.delivery.memo):
            return self._sign_anew()
        function = self.broker.tasks.get(self.name)
        if function is None:
            return self.failure(UNKNOWN, 'unknown', quiet=True,
                                note=_known(self.broker.tasks) + control.exposes)
        try:
            args, kw = self._read()
        except BaseException as err:
            # Another pool may have the secret, and then runs it.
            refused = isinstance(err, UntrustedMessage) and err.unknown_key
            return self.failure(_describe(err), 'refuse' if refused else 'failure')
        if const.SKIPS in self.delivery.header:
            without = self._skip(args, kw)
            if without is not None:
                return without

        task = CurrentTask(self.broker, self.delivery, self.name, self.memo.attempts + 1)
        limit = self.policy.timeout
        will = None
        if limit is not None:
            late = TaskTimeout(self.name, self.broker.name, task.id, overtime(limit))
            will = self._after(late, '', quiet=True)
            task.deadline = time.monotonic() + limit
        return Call(function, args, kw, task, limit, will)

    # 1. -- read --------------------------------------------------------------

    def _read(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        broker, delivery = self.broker, self.delivery
        call = broker.codec.decode_call(delivery.id, self.nonce, delivery.header, delivery.body,
                                        self._resolve)
        # Not before the signature of the header has been verified. Most have but a name.
        definition = broker.defaults.get(self.name)
        if b'\n' in delivery.header:
            self.policy = retry.merged(retry.parse(delivery.header), definition)
        elif definition is not None:
            self.policy = definition
        if delivery.memo:
            text = broker.codec.decode_memo(delivery.id, self.nonce, delivery.memo)
            self.memo = Memo.decode(text)
        return call

    def _resolve(self, id: str, nonce: str) -> object:
        if self.given is None:
            self.given = dict(self.delivery.arguments)
        raw, broker = self.given.get(id), self.broker
        if raw is None:
            raise DecodeError(f'its argument [{broker.name}:{id}] was not delivered')
        if not raw.startswith(nonce.encode()):
            raise DecodeError(f'its argument [{broker.name}:{id}] is of another life')
        value = broker.decode(id, raw)
        if isinstance(value, TaskFailure) and broker.codec.keys is not None \
                and const.PASSES not in self.delivery.header \
                and const.SKIPS not in self.delivery.header:
            raise UntrustedMessage(f'its argument [{broker.name}:{id}] has failed, and no '
                                   "signature says that it should run then (on_error='pass')")
        if const.SKIPS in self.delivery.header:
            self.values = self.values or []
            self.values.append(value)
        return value

    def _skip(self, args: tuple[Any, ...], kw: dict[str, Any]) -> Outcome | None:
        """Leave out the arguments that failed; what it comes to if it is not called for that."""
        pair = const.PAIR in self.delivery.header
        other = None
        if pair:
            skipped, other = one_of_two(args)
        else:
            skipped = leave_out([*args, kw], self.values or ())
        if skipped.fatal is not None:
            return self.encode(skipped.fatal)
        if not skipped.number:
            return None
        self.skipped = skipped.number
        log.info('%s [%s:%s] runs without %d of its arguments, which failed: %s', self.name,
                 self.broker.name, line(self.delivery.id), skipped.number, skipped.first)
        return self.encode(other) if pair else None

    def _sign_anew(self) -> Outcome:
        """Its value has come along many tail calls, and is not signed yet as its own."""
        id, token = self.delivery[:2]
        try:
            value = self.broker.sign_anew(id, self.nonce, self.delivery.memo,
                                          *self.delivery.arguments[-1])
        except DecodeError as err:
            refused = isinstance(err, UntrustedMessage) and err.unknown_key
            return self.failure(_describe(err), 'refuse' if refused else 'failure')
        return Outcome(id, token, 'value', value)

    # 2. -- call --------------------------------------------------------------

    def call(self, control: Completes, function: Callable[..., Any], args: tuple[Any, ...],
              kw: dict[str, Any]) -> Any:
        here = forks.generation
        try:
            if const.CHUNK not in self.delivery.header:
                value = function(*args, **kw)
                if isinstance(value, CoroutineType):
                    value = control.complete(value)
            else:
                value = []
                for each in args:
                    one = function(*each)
                    value.append(control.complete(one) if isinstance(one, CoroutineType) else one)
                    if here != forks.generation:
                        break
        except BaseException as err:
            if here != forks.generation:
                forks.leave(err)
            raise
        if here != forks.generation:   # the task has forked, and this is the copy
            forks.leave(None)
        return value

    # 3. -- encode ------------------------------------------------------------

    def encode(self, value: object) -> Outcome:
        broker, (id, token) = self.broker, self.delivery[:2]
        if isinstance(value, TaskFailure):  # an argument's, say, that it hands on
            return self.failure(value.error, trace=value.traceback)
        if isinstance(value, Deferred):
            other = value.broker
            if other is broker or (other.url, other.name) == (broker.url, broker.name):
                seal = seals.tail_call(broker.codec, id, self.nonce, value.id, value._nonce)
                return Outcome(id, token, 'delegate', seal,
                               target=Argument(value.id, value._nonce))
            return self.failure('EncodeError: the result is a Deferred of '
                                f'another queue ({other.backend!r})')
        try:
            return Outcome(id, token, 'value', broker.codec.encode_value(id, self.nonce, value))
        except EncodeError as err:
            return self.failure(f'EncodeError: {err}')
        except BaseException as err:
            return self.failure(_describe(err), trace=_trace(err))

    # 4. -- after an error ----------------------------------------------------

    def failed(self, err: BaseException, call: Call, frames: int) -> Outcome:
        """What an exception comes to that has come out of a call.

        :param frames: how many of its traceback are our own.
        """
        begin = err.__traceback__
        for _ in range(frames):
            begin = begin and begin.tb_next
        return self._after(err, _trace(err, begin), hint=mistakes.option_among(
            err, call.kw, self.name) if call.kw else '')

    def _after(self, err: BaseException, trace: str, quiet: bool = False,
               hint: str = '') -> Outcome:
        """What an error in the task comes to: another attempt, or the task's failure.

        :param hint: what to add to its text.
        """
        policy, attempt = self.policy, self.memo.attempts + 1
        err, beside = self._leader(err)
        late = self._is_late(err)
        error = (f'TaskTimeout: {err.error}' if isinstance(err, TaskTimeout) and late
                 else _describe(err)) + hint + beside
        asked = isinstance(err, Retry)
        if not isinstance(err, Cancelled) and (asked or retry.wanted(policy, err)) \
                and retry.again(policy, attempt, asked):
            return self._retry(err, error, trace, quiet)
        if isinstance(err, Cancelled):  # the queue knows, and will not take this outcome
            log.info('%s [%s:%s] %s', self.name, self.broker.name, self.delivery.id, error)
            quiet = True
        if self.memo.attempts:
            trace = '\n'.join([*self.memo.lines(), f'attempt {attempt}:', trace or error])
        if isinstance(err, TaskTimeout) and late:
            error = err.error + beside   # the type of the failure says the rest
        return self.failure(error + retry.count_of(policy, attempt), trace=trace, quiet=quiet,
                            kind=TaskTimeout if late else TaskFailure)

    def _is_late(self, err: BaseException) -> bool:
        """Whether that is this task's own time limit, and not another's failure."""
        return isinstance(err, TaskTimeout) and err.task_id == self.delivery.id

    def _leader(self, err: BaseException) -> tuple[BaseException, str]:
        """Which exception decides: of a group a cancel, else our time limit, else a `Retry`.

        :returns: that one, and what to say of the other members. A group with none of the
            three decides itself, as any other exception does.
        """
        if not isinstance(err, BaseExceptionGroup):
            return err, ''
        found = list(retry.members(err))
        cancels = [each for each in found if isinstance(each, Cancelled)]
        limits = [each for each in found if self._is_late(each)]
        # Who asks for the longest pause had the best reason for it.
        retries = sorted((each for each in found if isinstance(each, Retry)),
                         key=lambda each: each.delay or 0, reverse=True)
        leader = next(iter(cancels or limits or retries), None)
        others = [each for each in found if each is not leader]
        told = '; '.join(map(_describe, others[:BESIDE]))
        if others[BESIDE:]:
            told += f'; and {len(others) - BESIDE:,} more'
        if leader is None:
            return err, f': {told}'
        return leader, f' (in a group with {told})' if told else ''

    def _retry(self, err: BaseException, error: str, trace: str, quiet: bool) -> Outcome:
        import random   # with what it needs itself, seven modules that a pool can start without
        id, token = self.delivery[:2]
        memo = self.memo.after(error)
        pause = err.delay if isinstance(err, Retry) else None
        if pause is None:
            try:
                pause = retry.pause(self.policy.backoff, memo.attempts, random.random())
            except ValueError:
                # The task should not pay for a mistake in what it is defined with.
                log.exception('the backoff of %s failed; the default is used', self.name)
                pause = retry.pause(None, memo.attempts, random.random())
        if not quiet:
            if isinstance(err, Retry):  # no mishap
                trace = ''
            log.log(logging.WARNING if trace else logging.INFO,
                    '%s [%s:%s] %s; it runs again in %.3g s, as attempt %d' + (
                        '\n%s' if trace else '%s'), self.name,
                    self.broker.name, line(id), line(error), pause, memo.attempts + 1,
                    trace.rstrip())
        data = self.broker.codec.encode_memo(id, self.nonce, memo.encode())
        return Outcome(id, token, 'retry', data, int(pause * 1000))

    def failure(self, error: str, word: str = 'failure', trace: str = '', quiet: bool = False,
                kind: type[TaskFailure] = TaskFailure, note: str = '') -> Outcome:
        id, token = self.delivery[:2]
        failure = kind(self.name, self.broker.name, id, line(error), trace)
        if note:
            failure.add_note(note)
            failure.traceback = f'{error}\n{note}\n'   # as Python shows an exception with a note
        if not quiet:
            log.error('%s%s\n%s' if trace else '%s%s%s', failure, f'; {note}' if note else '',
                      trace.rstrip())
        return Outcome(id, token, word, self.broker.codec.encode_failure(self.nonce, failure))


def _known(names: Iterable[str]) -> str:
    """What can be called in place of a name that nobody exposes: the first few."""
    known = sorted(names)
    return f'this pool has {", ".join(known[:8]) or "none"}' + (', ...' if known[8:] else '')


def _describe(err: BaseException) -> str:
    try:
        return f'{type(err).__name__}: {err}'
    except BaseException as worse:
        return f'{type(err).__name__}: (its text cannot be had: {type(worse).__name__})'


def _trace(err: BaseException, begin: TracebackType | None = None) -> str:
    """The traceback as text, from the task's own frame on."""
    try:
        if not _is_many(err):
            return ''.join(traceback.format_exception(type(err), err, begin))
    except BaseException:   # a few that are too deep for Python's stack, say
        pass
    try:
        return _trace_of_many(err, begin)
    except BaseException:
        return ''


def _connected(err: BaseException) -> Iterator[tuple[BaseException, str]]:
    """An exception, its members, and what was before it; and what that is to the one before.

    Each once, and not all at once: there may be a hundred thousand.
    """
    open: list[tuple[BaseException, str]] = [(err, '')]
    seen = set()
    while open:
        one, word = open.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one, word
        if isinstance(one, BaseExceptionGroup):
            open += [(each, 'a member') for each in reversed(one.exceptions)]
        if one.__cause__ is not None:
            open.append((one.__cause__, 'the cause'))
        elif one.__context__ is not None and not one.__suppress_context__:
            open.append((one.__context__, 'what was handled'))


def _is_many(err: BaseException) -> bool:
    """Whether Python would take seconds to format all that hangs together with an exception."""
    if err.__cause__ is None and err.__context__ is None \
            and not isinstance(err, BaseExceptionGroup):
        return False
    return next(islice(_connected(err), MANY, None), None) is not None


def _trace_of_many(err: BaseException, begin: TracebackType | None) -> str:
    """The same in short: the first few of them, each alone."""
    text = []
    for one, word in islice(_connected(err), SHOWN):
        text += [f'{word}:\n'] if word else []
        text += ['Traceback (most recent call last):\n',
                 *traceback.format_tb(begin if one is err else one.__traceback__),
                 f'{_describe(one)}\n']
    return ''.join([*text, 'and more exceptions, too many to be shown\n'])
