"""Run one delivery, to an outcome.

A flat pipeline: look the task up, read its arguments, call it, encode what it returned. Each
step may end it with a failure. Whatever happens in the task or in what it was given, ``run``
answers an `Outcome`, so a pool's loop has no special cases.
"""
from __future__ import annotations

import asyncio
import logging
import traceback
from types import CoroutineType, TracebackType
from typing import Any

from worq import const
from worq.core import Broker
from worq.current import Control, CurrentTask, running
from worq.errors import DecodeError, EncodeError, TaskFailure, UntrustedMessage
from worq.queue.base import Argument, Delivery, Outcome
from worq.task import Deferred

__all__ = ['run']

log = logging.getLogger(__name__)


class Free(Control):
    """No hold at all: what runs, runs to its end."""

    def begin(self, task: CurrentTask, limit: float | None, will: Outcome | None) -> None:
        pass

    def complete(self, coroutine: CoroutineType[Any, Any, Any]) -> Any:
        return asyncio.run(coroutine)

    def end(self) -> None:
        pass


FREE = Free()


def run(broker: Broker, delivery: Delivery, control: Control = FREE) -> Outcome:
    """Run a task; never raises.

    ==================================================== =====================
    what happens                                         the outcome's word
    ==================================================== =====================
    it returns a value                                   value
    it returns a Deferred of this queue (a tail call)    delegate
    it raises anything, SystemExit included              failure
    its arguments or its result cannot be coded          failure
    no task of that name, or signed with another secret  refuse
    ==================================================== =====================
    """
    name = delivery.header.partition(b'\n')[0].decode('utf-8', 'replace')
    try:
        return _run(broker, delivery, name, control)
    except BaseException as err:
        # Only what is scarce, memory or stack, can bring us here: say the least.
        return _failure(broker, delivery, name, type(err).__name__ + ': ')


def _run(broker: Broker, delivery: Delivery, name: str, control: Control) -> Outcome:
    id, token = delivery.id, delivery.token
    nonce = token[:const.NONCE].decode('ascii')
    function = broker.tasks.get(name)
    if function is None:
        return _failure(broker, delivery, name, 'no such task', 'refuse')

    try:
        given = dict(delivery.arguments)

        def resolve(id: str, nonce: str) -> object:
            if id not in given:
                raise DecodeError(f'its argument [{broker.name}:{id}] was not delivered')
            if not given[id].startswith(nonce.encode()):
                raise DecodeError(f'its argument [{broker.name}:{id}] is of another life')
            return broker.decode(id, given[id])

        args, kw = broker.codec.decode_call(id, nonce, delivery.header, delivery.body, resolve)
    except BaseException as err:
        # Another pool may have the secret, and then runs it.
        refused = isinstance(err, UntrustedMessage) and err.unknown_key
        word = 'refuse' if refused else 'failure'
        return _failure(broker, delivery, name, _describe(err), word)

    task = CurrentTask(broker, delivery, name)
    here = running.set(task)
    try:
        try:
            control.begin(task, None, None)
            if const.CHUNK in delivery.header:
                value = [function(*each) for each in args]
            else:
                value = function(*args, **kw)
            if isinstance(value, CoroutineType):
                value = control.complete(value)
        finally:
            try:
                control.end()
            finally:
                running.reset(here)
    except BaseException as err:
        trace = _trace(err, err.__traceback__ and err.__traceback__.tb_next)
        return _failure(broker, delivery, name, _describe(err), trace=trace)

    if isinstance(value, TaskFailure):  # an argument's, say, that it hands on
        return _failure(broker, delivery, name, value.error, trace=value.traceback)
    if isinstance(value, Deferred):
        other = value.broker
        if other is broker or (other.url, other.name) == (broker.url, broker.name):
            return Outcome(id, token, 'delegate', target=Argument(value.id, value._nonce))
        return _failure(broker, delivery, name, 'EncodeError: the result is a Deferred of '
                        f'another queue ({other.backend!r})')
    try:
        return Outcome(id, token, 'value', broker.codec.encode_value(id, nonce, value))
    except EncodeError as err:
        return _failure(broker, delivery, name, f'EncodeError: {err}')
    except BaseException as err:
        return _failure(broker, delivery, name, _describe(err), trace=_trace(err))


def _failure(broker: Broker, delivery: Delivery, name: str, error: str,
             word: str = 'failure', trace: str = '') -> Outcome:
    failure = TaskFailure(name, broker.name, delivery.id, error, trace)
    log.error('%s%s%s', failure, '\n' if trace else '', trace.rstrip())
    nonce = delivery.token[:const.NONCE].decode('ascii')
    return Outcome(delivery.id, delivery.token, word,
                   broker.codec.encode_failure(nonce, failure))


def _describe(err: BaseException) -> str:
    try:
        return f'{type(err).__name__}: {err}'
    except BaseException as worse:
        return f'{type(err).__name__}: (its text cannot be had: {type(worse).__name__})'


def _trace(err: BaseException, begin: TracebackType | None = None) -> str:
    """The traceback as text, from the task's own frame on."""
    try:
        return ''.join(traceback.format_exception(type(err), err, begin))
    except BaseException:
        return ''
