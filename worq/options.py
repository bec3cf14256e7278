"""The options of a call: checked once, then carried about as one record."""
from __future__ import annotations

from typing import Any, Callable, NamedTuple

from worq import const

__all__ = ['FAIL', 'PASS', 'UNSET', 'Options']

FAIL = 'fail'
PASS = 'pass'


class _Unset:
    """Stands for an option that was not given, so that the queue's default holds."""

    def __repr__(self) -> str:
        return '<default>'


UNSET: Any = _Unset()


class Options(NamedTuple):
    """The options of a call, checked. `Task` tells what they mean."""

    id: str | Callable[..., str] | None = None
    on_error: str = FAIL
    ignore_result: bool = False
    result_timeout: float = const.RESULT_TIMEOUT
    heartrate: float | None = None
    max_deliveries: int = const.MAX_DELIVERIES
    priority: str = 'normal'
    delay: float = 0

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
        options = self._replace(**given)
        if options.id is not None and not isinstance(options.id, str) \
                and not callable(options.id):
            raise ValueError(f'invalid id: {options.id!r}; '
                             'it is a string, or a function of the arguments that returns one')
        if options.on_error not in (FAIL, PASS):
            raise ValueError(f'invalid on_error: {options.on_error!r}; '
                             'it is Task.FAIL or Task.PASS')
        _positive('result_timeout', options.result_timeout)
        if 'heartrate' in given:
            _positive('heartrate', options.heartrate)
        if not isinstance(options.max_deliveries, int) or options.max_deliveries < 1:
            raise ValueError(f'invalid max_deliveries: {options.max_deliveries!r}; '
                             'it is a whole number from 1')
        if options.priority not in const.PRIORITIES:
            raise ValueError(f'invalid priority: {options.priority!r}; '
                             f'it is {", ".join(map(repr, const.PRIORITIES))}')
        if options.delay != 0:
            _positive('delay', options.delay)
        return options._replace(ignore_result=bool(options.ignore_result))

    @property
    def flags(self) -> int:
        """As the queue knows them."""
        return (const.IGNORE_RESULT if self.ignore_result else 0) \
            | (const.PASS if self.on_error == PASS else 0)

    @property
    def lease(self) -> int:
        """ms of the task's lease: three heartbeats; 0 (as the pool likes) by default."""
        return 0 if self.heartrate is None else max(1000, int(self.heartrate * 3000))


def _positive(name: str, value: object) -> None:
    # bool is an int, and True seconds is a mistake; so is nan, which is not above 0
    if isinstance(value, bool) or not isinstance(value, (int, float)) \
            or not 0 < value < float('inf'):
        raise ValueError(f'invalid {name}: {value!r}; it is a number of seconds above 0')
