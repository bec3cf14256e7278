"""The options of a call: checked once, then carried about as one record."""
from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Callable, NamedTuple

from worq import const, retry

__all__ = ['FAIL', 'PASS', 'SKIP', 'NEEDED', 'TIMEOUT', 'UNSET', 'Options']

FAIL = 'fail'
PASS = 'pass'
SKIP = 'skip'
NEEDED = 'needed'     # how long an outcome is kept: while something needs it, if anything does ...
TIMEOUT = 'timeout'   # ... or for its result_timeout
LINES = {FAIL: b'', PASS: const.PASSES, SKIP: const.SKIPS}   # of a header


class _Unset:
    """Stands for an option that was not given, so that the queue's default holds."""

    def __repr__(self) -> str:
        return '<default>'


UNSET: Any = _Unset()


#: What a call's options alone say of its message: lines of the header, and the fields from `flags`
#: on, in their order.
Stamp = tuple[bytes, tuple[int, int, int, int, int, int, int]]


class _Options(NamedTuple):
    """As given. (No dataclass: with what it imports that takes a child as long as ten modules
    of WorQ.)"""

    id: str | Callable[..., str] | None = None
    on_error: str = FAIL
    ignore_result: bool = False
    result_timeout: float = const.RESULT_TIMEOUT
    heartrate: float | None = None
    max_deliveries: int = const.MAX_DELIVERIES
    priority: str = 'normal'
    delay: float = 0
    eta: datetime | None = None
    expires: float | None = None
    retries: int | None = None
    backoff: retry.Backoff | None = None
    retry_on: type[BaseException] | tuple[type[BaseException], ...] | None = None
    timeout: float | None = None
    keep: str | None = None


class Options(_Options):
    """The options of a call, checked. `Task` tells what they mean."""

    def updated(self, given: dict[str, Any]) -> Options:
        """These options with some replaced.

        :raises ValueError: for a value that makes no sense.
        :raises TypeError: for an option that does not exist.
        """
        unknown = given.keys() - set(self._fields)
        if unknown:
            raise TypeError(f'unknown task option: {min(unknown)!r}; '
                            f'there are {", ".join(self._fields)}')
        if given.get('ignore_result') and 'result_timeout' in given \
                and given['result_timeout'] != const.RESULT_TIMEOUT:
            raise ValueError('ignore_result is incompatible with result_timeout')
        if given.get('delay') and given.get('eta') is not None:
            raise ValueError('delay and eta are two ways to say when; give one of them')
        if given.get('keep') == NEEDED and given.get('ignore_result'):
            raise ValueError('ignore_result is incompatible with keep: there is nothing to keep')
        options = self._replace(**given)
        if options.keep not in (None, NEEDED, TIMEOUT):
            raise ValueError(f'invalid keep: {options.keep!r}; it is {NEEDED!r} or {TIMEOUT!r}')
        if options.keep is None and (options.id is not None or 'result_timeout' in given):
            options = options._replace(keep=TIMEOUT)   # who cares for it does not want it to go
        # the one that is given replaces the other one that was a default
        if given.get('eta') is not None:
            options = options._replace(delay=0)
        elif given.get('delay'):
            options = options._replace(eta=None)
        if options.id is not None and not isinstance(options.id, str) \
                and not callable(options.id):
            raise ValueError(f'invalid id: {options.id!r}; '
                             'it is a string, or a function of the arguments that returns one')
        if options.on_error not in (FAIL, PASS, SKIP):
            raise ValueError(f'invalid on_error: {options.on_error!r}; '
                             'it is Task.FAIL, Task.PASS or Task.SKIP')
        options = options._replace(
            result_timeout=const.check_span('result_timeout', options.result_timeout, above=True),
            max_deliveries=const.check_count('max_deliveries', options.max_deliveries),
            delay=const.check_span('delay', options.delay))
        if 'heartrate' in given:
            options = options._replace(
                heartrate=const.check_span('heartrate', options.heartrate, above=True))
        if options.priority not in const.PRIORITIES:
            raise ValueError(f'invalid priority: {options.priority!r}; '
                             "it is 'high', 'normal' or 'low'")
        eta = options.eta
        if eta is not None and (not isinstance(eta, datetime) or eta.utcoffset() is None):
            raise ValueError(f'invalid eta: {eta!r}; it is a datetime with a time zone, '
                             'as datetime.now(timezone.utc) + timedelta(hours=1)')
        if eta is not None:
            options.until_eta()
        if options.expires is not None:
            expires = const.check_span('expires', options.expires, above=True)
            options = options._replace(expires=expires)
            if expires <= options.delay:
                raise ValueError(f'invalid expires: {options.expires!r}; a task with a delay of '
                                 f'{options.delay} seconds would be too late to begin')
        policy = retry.checked(options.retries, options.backoff, options.retry_on,
                               options.timeout)
        return options._replace(ignore_result=bool(options.ignore_result), retries=policy.retries,
                                backoff=policy.backoff, timeout=policy.timeout)

    @property
    def flags(self) -> int:
        """As the queue knows them."""
        return (const.IGNORE_RESULT if self.ignore_result
                else const.NEEDED if self.keep == NEEDED else 0) \
            | (0 if self.on_error == FAIL else const.PASS)

    @cached_property
    def of_many(self) -> Options:
        """The same for one of many calls that are made together: its outcome is mostly wanted by
        the next one. Who has named it, or said how long it is kept, wants it otherwise."""
        return self._replace(keep=NEEDED) if self.keep is None else self

    def stamp(self) -> Stamp:
        """What the message of a call gets of them.

        :raises ValueError: if a backoff function returns what makes no sense; if it would be
            too late before it is due.
        """
        return self._stamp or self._new_stamp()

    @cached_property
    def _stamp(self) -> Stamp | None:
        """That of all calls; None if each has its own, by the clock or by what a function says."""
        return None if self.eta is not None or callable(self.backoff) else self._new_stamp()

    def _new_stamp(self) -> Stamp:
        lines = retry.lines(retry.checked(self.retries, self.backoff, self.retry_on, self.timeout))
        if self.lease:  # the pool must know how often to beat for it
            lines = b'\nlease %d' % self.lease + lines
        lines = LINES[self.on_error] + lines
        delay, expires = self.spans()
        return lines, (self.flags, const.PRIORITIES[self.priority], delay,
                       int(self.result_timeout * 1000), self.lease, self.max_deliveries, expires)

    def spans(self) -> tuple[int, int]:
        """From now, in ms: until it is due, and until it is too late (0: never).

        :raises ValueError: if it would be too late before it is due.
        """
        delay = self.delay
        if self.eta is not None:
            delay = self.until_eta()
        if self.expires is None:
            return int(delay * 1000), 0
        if self.expires <= delay:
            raise ValueError(f'invalid expires: {self.expires!r}; a task that is due in '
                             f'{delay:.0f} seconds would be too late to begin')
        return int(delay * 1000), max(1, int(self.expires * 1000))

    def until_eta(self) -> float:
        """Seconds until the task is due; 0 if that is past.

        :raises ValueError: if it is too far ahead.
        """
        assert self.eta is not None
        try:
            seconds = (self.eta - datetime.now(UTC)).total_seconds()
        except OverflowError:   # at the ends of the calendar, in some time zones
            seconds = (self.eta.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()
        if seconds > const.SPAN:
            raise ValueError(f'invalid eta: {self.eta!r}; it is at most ten years ahead')
        return max(0.0, seconds)

    @property
    def lease(self) -> int:
        """ms of the task's lease: three heartbeats; 0 (as the pool likes) by default."""
        return 0 if self.heartrate is None \
            else min(max(1000, int(self.heartrate * 3000)), const.SPAN * 1000)
