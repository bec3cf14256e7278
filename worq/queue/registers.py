"""The part of the contract that keeps small named values: who schedules, pauses, or did what."""
from __future__ import annotations

from collections.abc import Callable, Iterator

from worq import const
from worq.errors import QueueError

__all__ = ['Registers', 'change', 'held', 'those', 'too_many']


class Registers:
    """Registers of a queue: small values under names, for whatever is to be known by all.

    A register has no owner and no end. It is what was noted last, whoever did so; that of which
    nothing is noted holds b''. A purge leaves all as they are, and so does the end of any task.
    ``put`` may change one in the step in which it stores tasks, see there.

    Programs name theirs by a kind and a colon, as ``cron:nightly``.
    """

    def note(self, name: str, value: bytes, if_was: bytes | None = None) -> bytes:
        """Have a register hold a value, if it holds what its caller believes.

        Sent again it answers the same, unless somebody else has changed it meanwhile. So values
        that must be told apart need something of their own in them, a nonce or a number.

        :param name: of 1 to `const.NOTE_NAME` bytes in UTF-8.
        :param value: at most `const.NOTE` bytes; b'': it is to hold nothing, and is gone.
        :param if_was: change it only if it holds exactly this; None: whatever it holds.
        :returns: what it holds now: `value`, if that was done.
        :raises QueueError: if there are `const.NOTES` of them already.
        """
        raise NotImplementedError

    def notes(self, prefix: str = '', after: str = '', limit: int = 100,
              ) -> list[tuple[str, bytes]]:
        """The registers whose names begin so, with what they hold, in the order of their bytes.

        :param after: only those whose names come after this one: the last of the page before.
        :param limit: at most so many, from 1 to `const.NOTES_PAGE`.
        :returns: none if there are no more. So many as `limit`, or fewer if they are long.
        """
        raise NotImplementedError


def too_many() -> QueueError:
    """What is raised if there would be more registers than there may be."""
    return QueueError(f'the queue has {const.NOTES:,} registers already, and there can be no more')


def held(queue: Registers, name: str) -> bytes:
    """What one register holds."""
    return dict(queue.notes(name, limit=1)).get(name, b'')


def those(queue: Registers, prefix: str) -> Iterator[tuple[str, bytes]]:
    """All registers whose names begin so, with what they hold."""
    last = ''
    while page := queue.notes(prefix, last, const.NOTES_PAGE):
        last = page[-1][0]
        yield from page


def change(queue: Registers, name: str, to: Callable[[bytes], bytes], was: bytes, tries: int,
           what: str) -> bytes:
    """Have a register hold what is made of what it holds, whoever else changes it meanwhile.

    :param to: makes that; it may be called again.
    :param was: what it holds, as far as is known.
    :param tries: times that somebody else may be quicker.
    :param what: that others do then, for the error.
    :returns: what it holds now.
    :raises RuntimeError: if others were quicker each time.
    """
    for _ in range(tries):
        value = to(was)
        if value == was:
            return value
        found = queue.note(name, value, was)
        if found == value:
            return value
        was = found
    raise RuntimeError(f'others {what} all the time')
