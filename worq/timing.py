"""When a schedule is to run, checked: cron, every so many seconds, or once at a date."""
from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from worq import const

if TYPE_CHECKING:
    from cronsim import CronSim

__all__ = ['LAST', 'OPTIONS', 'Timing', 'checked', 'cron', 'restored', 'words', 'zone_of']

#: What can be said of when a schedule runs
OPTIONS = 'cron', 'every', 'at', 'zone', 'missed', 'grace', 'overlap', 'spread'
MISSED = 'last', 'all', 'none'
OVERLAP = 'skip', 'queue', 'cancel'
HOUR, MINUTE, SECOND = 3_600_000, 60_000, 1_000   # ms
SPREAD = 86_400   # seconds at most
LAST = 253_370_764_800_000   # ms: the year 9999, of which a zone may make another that there is not
TEXT = 200        # characters of a cron expression at most
NICKNAMES = {'@yearly': '0 0 1 1 *', '@annually': '0 0 1 1 *', '@monthly': '0 0 1 * *',
             '@weekly': '0 0 * * 0', '@daily': '0 0 * * *', '@midnight': '0 0 * * *',
             '@hourly': '0 * * * *'}


class Timing(NamedTuple):
    """When a schedule runs, as it is stored; exactly one of the first three is given.

    Moments are ms since the epoch, spans are ms. `worq.schedules` tells what they mean.
    """

    cron: str = ''
    every: int = 0
    at: int | None = None
    zone: str = 'UTC'
    missed: str = 'last'
    grace: int | None = None   #: None: what `missed` has by default
    overlap: str = 'skip'
    spread: int = 0


def checked(*, cron: str | None = None, every: float | None = None, at: datetime | None = None,
            zone: str = 'UTC', missed: str = 'last', grace: float | None = None,
            overlap: str | None = None, spread: float = 0) -> Timing:
    """The timing that these options mean.

    :param every: seconds, at least 1; `grace` and `spread` are seconds too.
    :param at: with a time zone.
    :raises ValueError: for one that makes no sense, and unless one of the first three is given.
    :raises ImportError: for `cron`, if cronsim is not installed.
    """
    if [cron, every, at].count(None) != 2:
        raise ValueError('a schedule needs one of cron=, every= and at=, and no other of them')
    _check_word('missed', missed, MISSED)
    if overlap is None:
        overlap = 'queue' if missed == 'all' or at is not None else 'skip'
    _check_word('overlap', overlap, OVERLAP)
    if missed == 'all' and overlap == 'skip':
        raise ValueError("missed='all' runs one slot after the other, of which overlap='skip' "
                         "would skip most; have overlap='queue'")
    zone_of(zone)
    timing = Timing(zone=zone, missed=missed, overlap=overlap,
                    grace=None if grace is None else _ms('grace', grace),
                    spread=_ms('spread', spread))
    if timing.spread > SPREAD * SECOND:
        raise ValueError(f'invalid spread: {spread!r}; it is at most {SPREAD:,} seconds, a day')
    if cron is not None:
        return timing._replace(cron=_expression(cron, zone))
    if every is not None:
        timing = timing._replace(every=_ms('every', every))
        if timing.every < SECOND:
            raise ValueError(f'invalid every: {every!r}; it is at least a second')
        if timing.spread > timing.every:
            raise ValueError(f'invalid spread: {spread!r}; it is at most the {every} seconds from '
                             'one run to the next')
        return timing
    if not isinstance(at, datetime) or at.utcoffset() is None:
        raise ValueError(f'invalid at: {at!r}; it is a datetime with a time zone, as '
                         "datetime(2030, 1, 1, 9, tzinfo=ZoneInfo('Europe/Berlin'))")
    moment = int(at.timestamp() * 1000)
    if not 0 < moment < LAST:
        raise ValueError(f'invalid at: {at!r}; that is long {"past" if moment <= 0 else "away"}')
    return timing._replace(at=moment)


def restored(stored: Any) -> Timing:
    """The timing that was stored as the list of its fields.

    :raises ValueError, TypeError: if that is none. Whether its expression and its zone are known
        here is not looked at.
    """
    found = Timing(*stored)
    texts = found.cron, found.zone
    spans = found.every, found.spread, found.grace or 0, found.at or 0
    if not all(isinstance(text, str) and text.isprintable() and len(text) <= TEXT
               for text in texts) or ' ' in found.zone:
        raise ValueError(f'{texts!r} is no time')
    if not all(type(span) is int and 0 <= span < LAST for span in spans) \
            or found.spread > SPREAD * SECOND or 0 < found.every < SECOND:
        raise ValueError(f'{spans!r} is no time')
    if bool(found.cron) + bool(found.every) + (found.at is not None) != 1:
        raise ValueError('it is to be one of cron, every and at')
    _check_word('missed', found.missed, MISSED)
    _check_word('overlap', found.overlap, OVERLAP)
    return found


def _check_word(name: str, value: Any, words: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in words:
        raise ValueError(f'invalid {name}: {value!r}; it is one of {", ".join(words)}')


def _ms(name: str, seconds: Any) -> int:
    return round(const.check_span(name, seconds) * 1000)


def _expression(text: Any, zone: str) -> str:
    """A cron expression in one form, once it is known to have slots."""
    if not isinstance(text, str) or not text.isascii() or len(text) > TEXT:
        raise ValueError(f'invalid cron: {text!r}; it is a string, as "0 3 * * 1-5"')
    plain = ' '.join(text.split())
    plain = NICKNAMES.get(plain.lower(), plain)
    found = cron(plain, datetime(2024, 1, 1, tzinfo=UTC))   # a leap year comes within 50 years
    if next(found, None) is None:
        raise ValueError(f'invalid cron: {text!r}; there is no such day')
    return plain


def cron(text: str, after: datetime) -> CronSim:
    """An iterator over the slots of a cron expression.

    :raises ValueError: if it is none.
    :raises ImportError: if cronsim is not installed.
    """
    try:
        from cronsim import CronSim, CronSimError   # an extra
    except ImportError:
        raise ImportError('cron= needs a package: pip install "WorQ[cron]"; '
                          'every= and at= need none') from None
    try:
        return CronSim(text, after)
    except CronSimError as error:
        raise ValueError(f'invalid cron: {text!r}; {error}. It has five fields: minute, hour, '
                         'day of the month, month, day of the week; of six the first is the '
                         'second') from None


@lru_cache(100)
def zone_of(name: str) -> tzinfo:
    """The time zone of an IANA name.

    :raises ValueError: if there is none.
    """
    if name == 'UTC':
        return UTC   # also where the machine has no zones at all
    from zoneinfo import ZoneInfo   # most programs have no schedule
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, TypeError, OSError) as error:
        raise ValueError(f'invalid zone: {name!r}; it is an IANA name, as Europe/Berlin, that this '
                         f'machine knows (else: pip install tzdata): {error}') from None


def words(timing: Timing) -> str:
    """A timing in words."""
    tail = f', {timing.zone}'
    if timing.every:
        text = f'every {_span(timing.every).removeprefix("1 ")}'
        tail = ''
    elif timing.at is not None:
        when = datetime.fromtimestamp(timing.at / 1000, zone_of(timing.zone))
        text = f'once, at {when:%Y-%m-%d %H:%M:%S}'
    else:
        said = cron(timing.cron, datetime.now(UTC)).explain()
        text = said[:1].lower() + said[1:]
    spread = f', up to {_span(timing.spread)} later' if timing.spread else ''
    return text + tail + spread


def _span(ms: int) -> str:
    for size, name in (24 * HOUR, 'day'), (HOUR, 'hour'), (MINUTE, 'minute'):
        if ms % size == 0:
            return f'1 {name}' if ms == size else f'{ms // size} {name}s'
    return '1 second' if ms == SECOND else f'{ms / SECOND:g} seconds'
