"""What is to happen when a task fails: retries, pauses between them, its time limit.

Pure functions: they take the attempt, the policy and chance, and nothing here waits or runs.
A policy may come with a call, as lines of its header, or with the definition of the task. What
the call does not say, the definition does; see `Policy`.

Attempts are counted from 1. The pause after attempt n is ``pause(backoff, n, ...)``.
"""
from __future__ import annotations

from functools import lru_cache
import json
from typing import Any, Callable, Iterable, Iterator, NamedTuple, Sequence

from worq import const

__all__ = ['Policy', 'Memo', 'checked', 'lines', 'parse', 'merged', 'pause', 'wanted', 'again',
           'count_of', 'members']

BASE, MOST = 1.0, 300.0    # seconds: the first pause and the longest, by default
TABLE = 100                # pauses that a header holds; the last one repeats
TABLE_UNTOLD = 20          # ... of a function, if the call does not say how many retries
ERRORS = 10                # errors of earlier attempts that are kept: the newest
LINE = 500                 # characters of each
MEMO = 12 << 10            # bytes of them all

Pauses = float | Sequence[float]
Backoff = Pauses | Callable[[int], float]


class Policy(NamedTuple):
    """What a call or a definition says. None: nothing.

    `retries`: how often a failed task is run again. `backoff`: seconds, a sequence of them, or
    a function of the attempt that failed. `retry_on`: qualified names of exceptions, since
    who reads them need not have the classes. `timeout`: seconds.
    """

    retries: int | None = None
    backoff: Backoff | None = None
    retry_on: tuple[str, ...] | None = None
    timeout: float | None = None


def checked(retries: Any = None, backoff: Any = None, retry_on: Any = None,
            timeout: Any = None) -> Policy:
    """The policy that somebody asks for.

    :raises ValueError: for what makes no sense, naming it.
    """
    if retries is not None:
        retries = const.check_count('retries', retries, 0)
    if timeout is not None:
        timeout = const.check_span('timeout', timeout, above=True)
    if backoff is not None and not callable(backoff):
        try:
            if not isinstance(backoff, list | tuple):
                backoff = const.check_span('', backoff)
            elif 0 < len(backoff) <= TABLE:
                spans = (const.check_span('', each) for each in backoff)
                backoff = tuple(spans) if isinstance(backoff, tuple) else list(spans)
            else:
                raise ValueError(len(backoff))
        except ValueError:
            raise ValueError(f'invalid backoff: {backoff!r}; it is a number of seconds, a sequence '
                             f'of 1 to {TABLE} of them, or a function of the attempt that returns '
                             'one') from None
    names = None
    if retry_on is not None:
        types = retry_on if isinstance(retry_on, tuple) else (retry_on,)
        if not all(isinstance(each, type) and issubclass(each, BaseException) for each in types):
            raise ValueError(f'invalid retry_on: {retry_on!r}; '
                             'it is an exception type or a tuple of them')
        names = tuple(map(name_of, types))
    return Policy(retries, backoff, names, timeout)


def name_of(kind: type) -> str:
    """How an exception type is called everywhere, also in the main script of a child."""
    module = '__main__' if kind.__module__ == '__mp_main__' else kind.__module__
    return f'{module}.{kind.__qualname__}'


# -- headers ---------------------------------------------------------------------------


def lines(policy: Policy) -> bytes:
    """The policy as lines of a header; a function is tabulated.

    :raises ValueError: if the function returns what is no number of seconds.
    """
    text = ''
    if policy.retries is not None:
        text += f'\nretries {policy.retries}'
    if policy.backoff is not None:
        text += '\nbackoff ' + ' '.join(f'{each:.15g}' for each in table(policy))
    if policy.retry_on is not None:
        text += ' '.join(['\nretry_on', *policy.retry_on])
    if policy.timeout is not None:
        text += f'\ntimeout {max(1, round(policy.timeout * 1000))}'
    return text.encode()


def table(policy: Policy) -> Iterable[float]:
    """The pauses of a policy, in order."""
    backoff = policy.backoff
    if callable(backoff):
        n = TABLE_UNTOLD if policy.retries is None else min(max(1, policy.retries), TABLE)
        return [ask(backoff, attempt) for attempt in range(1, n + 1)]
    return [backoff] if isinstance(backoff, int | float) else backoff or ()


def ask(function: Callable[[int], float], attempt: int) -> float:
    """What a backoff function says of an attempt."""
    try:
        seconds = function(attempt)
    except Exception as error:
        raise ValueError(f'invalid backoff: the function, called with the attempt {attempt}, '
                         f'raised {type(error).__name__}: {error}') from error
    try:
        return const.check_span('', seconds)
    except ValueError:
        raise ValueError(f'invalid backoff: the function returned {seconds!r} for attempt '
                         f'{attempt}; it returns a number of seconds from 0') from None


@lru_cache(maxsize=256)   # calls that ask for the same have the same header
def parse(header: bytes) -> Policy:
    """The policy in a header; what cannot be read there counts as not said."""
    found: dict[str, str] = {}
    for line in header.decode('utf-8', 'replace').split('\n')[1:]:
        word, _, rest = line.partition(' ')
        found[word] = rest
    try:
        return Policy(
            int(found['retries']) if 'retries' in found else None,
            tuple(map(float, found['backoff'].split())) or None if 'backoff' in found else None,
            tuple(found['retry_on'].split()) if 'retry_on' in found else None,
            int(found['timeout']) / 1000 if 'timeout' in found else None)
    except ValueError:
        return Policy()


def merged(call: Policy, definition: Policy | None) -> Policy:
    """What holds: the call's word, else that of the definition."""
    if definition is None:
        return call
    said = {field: value for field, value in call._asdict().items() if value is not None}
    return definition._replace(**said)


# -- decisions -------------------------------------------------------------------------


def pause(backoff: Backoff | None, attempt: int, chance: float) -> float:
    """Seconds until the next attempt.

    By default they double from a second to five minutes, and half of them is chance, so that
    what failed together does not come back together.

    :param attempt: the one that failed.
    :param chance: a random number from 0 to 1.
    :raises ValueError: if a backoff function raises, or returns what is no number of seconds.
    """
    if backoff is None:
        return min(MOST, BASE * 2.0 ** min(attempt - 1, 30)) * (1 + chance) / 2
    if callable(backoff):
        return ask(backoff, attempt)
    if isinstance(backoff, int | float):
        return backoff
    return backoff[min(attempt, len(backoff)) - 1]


def wanted(policy: Policy, error: BaseException) -> bool:
    """Whether this is an error to try again after: any Exception, unless the policy names some.

    A group of exceptions is one if each of its members is.
    """
    if policy.retry_on is None:
        return isinstance(error, Exception)
    if any(name_of(kind) in policy.retry_on for kind in type(error).__mro__):
        return True
    if not isinstance(error, BaseExceptionGroup):
        return False
    kinds = set(map(type, members(error)))   # there may be a hundred thousand members
    return all(any(name_of(each) in policy.retry_on for each in kind.__mro__) for kind in kinds)


def members(error: BaseException) -> Iterator[BaseException]:
    """The exceptions in a group, and in the groups inside it; one that is no group is alone.

    It does not recurse: a group may be nested deeper than Python's stack.
    """
    open = [error]
    while open:
        error = open.pop()
        if isinstance(error, BaseExceptionGroup):
            open += reversed(error.exceptions)
        else:
            yield error


def again(policy: Policy, attempt: int, asked: bool) -> bool:
    """Whether there may be another attempt.

    :param asked: the task asked for it; then no number of retries means any number.
    """
    if policy.retries is None:
        return asked
    return attempt <= policy.retries


def count_of(policy: Policy, attempt: int) -> str:
    """What a failure says of the attempts; nothing if there was one, and was to be one."""
    if policy.retries:
        return f' (attempt {attempt} of {policy.retries + 1})'
    return f' (attempt {attempt})' if attempt > 1 else ''


# -- memos -----------------------------------------------------------------------------


class Memo(NamedTuple):
    """What an attempt leaves to the next one."""

    attempts: int = 0              #: so far
    errors: tuple[str, ...] = ()   #: the newest of their errors, a line each

    def after(self, error: str) -> Memo:
        """With one more attempt, that ended so."""
        line = ' '.join(error.split())
        if len(line) > LINE:
            line = line[:LINE - 4] + ' ...'
        return Memo(self.attempts + 1, (*self.errors, line)[-ERRORS:])

    def encode(self) -> bytes:
        """As bytes; the oldest errors are dropped if they are too long together."""
        errors = self.errors
        while True:
            raw = json.dumps([self.attempts, *errors], ensure_ascii=False)
            data = raw.encode('utf-8', 'backslashreplace')
            if len(data) <= MEMO or not errors:
                return data
            errors = errors[1:]

    @classmethod
    def decode(cls, data: bytes) -> Memo:
        """What ``encode`` made.

        :raises ValueError: for anything else.
        """
        found = json.loads(data)
        if isinstance(found, list) and found and type(found[0]) is int \
                and all(isinstance(error, str) for error in found[1:]):
            return cls(found[0], tuple(found[1:]))
        raise ValueError('not a memo')

    def lines(self) -> list[str]:
        """The errors, each with the number of its attempt."""
        first = self.attempts - len(self.errors) + 1
        told = [f'attempt {n}: {error}' for n, error in enumerate(self.errors, first)]
        return told if first == 1 else [f'({first - 1} earlier attempts are not shown)', *told]
