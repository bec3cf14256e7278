"""How the children of a pool begin, or do not: when to try again, and what to say of it."""
from __future__ import annotations

import re

from worq.printable import logger, shortened

__all__ = ['Respawn', 'one_line']

log = logger(__name__)

RESPAWN = 0.1, 10.0   # seconds before a child is tried again that could not begin
KILLED = 1.0          # the most of them if it was killed: that says less of the next one
SAY = 10.0, 600.0     # seconds between two log lines about that: first and last
CHANGED = 1.0         # seconds before another reason is logged


class Respawn:
    """Knows how long none has begun, and why.

    :param label: names the pool in the log.
    :param now: monotonic.
    """

    def __init__(self, label: str, now: float) -> None:
        self.label = label
        self.begun_at = now       # when a child has last begun well
        self.again_at = 0.0       # when the next one may be tried
        self._said = ''           # the reason that was logged last, without its numbers
        self._failures = 0        # since something was logged
        self._failed_at = now
        self._said_at = self._say_at = 0.0
        self._pause = SAY[0]

    def __repr__(self) -> str:
        return f'<Respawn of {self.label}, {self._failures} failed>'

    def well(self, now: float) -> None:
        """A child has begun."""
        self.begun_at = now

    def failed(self, now: float, why: str, more: str = '', killed: bool = False) -> None:
        """A child could not begin.

        :param why: in one line.
        :param more: the traceback.
        :param killed: by a signal.
        """
        self.put_off(now, killed)
        if now - self._failed_at > SAY[1]:
            self._pause = SAY[0]
        self._failed_at = now
        self._failures += 1
        kind = re.sub('[0-9]+', '', why)   # no pid, no time
        if now < self._say_at and (kind == self._said or now < self._said_at + CHANGED):
            return
        often = '' if self._failures == 1 else f' ({self._failures} times since the last line)'
        text = '%s: a worker process could not begin, and another is tried%s: %s'
        if more:
            log.error(text + '\n%s', self.label, often, why, more.rstrip())
        else:
            log.error(text, self.label, often, why)
        self._said, self._failures = kind, 0
        self._said_at, self._say_at = now, now + self._pause
        self._pause = min(2 * self._pause, SAY[1])

    def put_off(self, now: float, killed: bool = False) -> None:
        """Try none for a while."""
        # By how long none could begin, not how many could not: if somebody kills them right
        # and left, some of them young, the pool must not be without any for long.
        first, last = RESPAWN if not killed else (RESPAWN[0], min(RESPAWN[1], KILLED))
        self.again_at = now + min(last, max(first, (now - self.begun_at) / 2))


def one_line(error: BaseException) -> str:
    """An exception and its notes in one line, for the log and for people who ask why."""
    try:
        text = '; '.join([str(error), *map(str, getattr(error, '__notes__', ()))])
    except Exception:
        text = ''
    return shortened(f'{type(error).__name__}: {text}')
