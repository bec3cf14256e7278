"""Why a task is not done yet, in plain words: ``deferred.explain()``.

It reads what the queue knows of a task (`Inspection`), of those that it waits for, and of the
pools, and changes nothing. What it says was true a moment ago.
"""
from __future__ import annotations

from datetime import datetime, timedelta
import time
from difflib import get_close_matches
from html import escape
from typing import Any, Callable, Mapping, Sequence

from worq import const
from worq.errors import DecodeError, QueueError, TaskCancelled, TaskExpired, TaskFailure
from worq.pausing import paused_by, pauses, said
from worq.printable import line, shortened
from worq.pools import WAITING, Pool, Worker, live, read
from worq.progress import Progress
from worq.queue.base import Inspection
from worq.queue.pauses import Pause
from worq.retry import Memo, merged, parse
from worq.schedules.call import words_of
from worq.seals import is_value, opened

__all__ = ['explain', 'Text']

TASKS = 24        # that are told of, at most ...
SHOWN = 4         # ... and open arguments of each of them
QUEUES = 50       # other queues that are looked at for pools
NAME = 200        # characters of a name
NOTHING: Mapping[str, Any] = {}


class Text(str):
    """A text in lines, which a notebook and IPython's prompt show as it would be printed."""

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def _repr_html_(self) -> str:
        first, _, rest = escape(self).partition('\n')
        return f'<pre style="white-space: pre-wrap"><b>{first}</b>\n{rest}</pre>'


def explain(broker: Any, id: str, name: str, known: Mapping[str, Any] = NOTHING) -> Text:
    """What there is to say of a task, in several lines.

    :param broker: the `Broker` of its queue.
    :param name: of the task, should the queue not know it.
    :param known: what tasks have come to, of those of which this process knows it.
    """
    try:
        found, = broker.backend.inspect([id])
        told = Explanation(broker, known).of(id, found, name)
    except QueueError as error:
        if not error.damaged:
            raise
        told = [f'{name} [{broker.name}:{id}] cannot be told of now: {error}']
    return Text('\n'.join(map(line, told)))


class Explanation:
    """Goes from task to task, and does not say anything twice."""

    def __init__(self, broker: Any, known: Mapping[str, Any]) -> None:
        self.broker = broker
        self.known = known
        self.told: set[str] = set()
        self._pools: dict[str, Pool] | None = None
        self._pauses: list[Pause] | None = None

    @property
    def pools(self) -> dict[str, Pool]:
        if self._pools is None:
            self._pools = {id: read(id, info) for id, info in self.broker.backend.pools().items()}
        return self._pools

    def paused(self, name: str) -> str:
        """What is paused that tasks of a name belong to, by whom and since when; '' if nothing."""
        if self._pauses is None:
            self._pauses = pauses(self.broker.backend)
        found = paused_by(self._pauses, name)
        return '' if found is None else \
            f'{said(found)}, {span(round((time.time() - found.moment) * 1_000))} ago'

    def of(self, id: str, found: Inspection | None, name: str = '') -> list[str]:
        """A task, and what it waits for."""
        self.told.add(id)
        if found and found.header:
            name = line(found.header.partition(b'\n')[0].decode('utf-8', 'replace'), NAME)
        label = f'{name or "the task"} [{self.broker.name}:{id}]'
        if found is None or found.state in const.ENDS.values():
            return [f'{label} {self._ended(id, found.state if found else const.UNKNOWN)}']
        if found.lost:
            return [f'{label} is {found.state}, but {found.lost}: keys of the queue were deleted '
                    'or changed by others. They are repaired now.']
        tell: Callable[[str, str, Inspection], list[str]] = getattr(self, f'_{found.state}')
        lines = tell(id, name, found)
        lines[0] = f'{label} {lines[0]}'
        if run := words_of(found.header):
            lines.insert(1, f'  It is {run}.')
        if found.expires is not None and found.state != const.PROCESSING:
            lines.insert(1, f'  It will be too late to begin in {span(found.expires)}, and then '
                            'it will fail.')
        if found.state in (const.PENDING, const.SCHEDULED) and (paused := self.paused(name)):
            lines.append(f'  Then it will have to wait, for it is paused: {paused}.')
        return lines

    # -- one for each state --

    def _pending(self, id: str, name: str, found: Inspection) -> list[str]:
        if found.target:
            return ['is pending: it has returned another task, and waits for what that comes to:',
                    *self._others([found.target], 1)]
        if found.open:
            many = 'an argument' if found.open == 1 else f'{found.open:,} arguments'
            lines = [f'is pending: it waits for {many}:',
                     *self._others(found.arguments, found.open)]
        else:
            lines = ['is pending: it is held back.']
        if found.due:
            lines.append(f'  And it is due {moment(found.due)}, at the earliest.')
        if found.gate:
            lines.insert(1, '  It is part of a batch that is not complete yet, which holds it '
                            'back.')
        return lines

    def _scheduled(self, id: str, name: str, found: Inspection) -> list[str]:
        when = f'is scheduled, and due {moment(found.due or 0)}.'
        memo = self._memo(id, found)
        if found.deliveries:
            why = ('  It was taken, and came back without having been done (delivery '
                   f'{found.deliveries}): its worker died, or its pool does not know it.')
        elif memo is None:
            return [when]
        elif not memo.errors:
            why = '  It is to be run again.'
        else:
            of = merged(parse(found.header), self.broker.defaults.get(name)).retries
            why = (f'  Attempt {memo.attempts}{"" if of is None else f" of {of + 1}"} '
                   f'ended with {memo.errors[-1]}')
        return [when, why]

    def _enqueued(self, id: str, name: str, found: Inspection) -> list[str]:
        if paused := self.paused(name):
            return [f'is enqueued, but it is paused: {paused}. It waits until that is resumed.',
                    *self._past(id, found)]
        if found.ahead is None:
            place = f'more than {const.AHEAD:,} tasks are to be taken before it'
        elif found.ahead == 0:
            place = 'it is the next to be taken'
        else:
            place = ('1 task is' if found.ahead == 1 else f'{found.ahead:,} tasks are') \
                + ' to be taken before it'
        lines = [f'is enqueued, and waits for a worker: {place}.', f'  {self._who(name)}',
                 *self._names(name)]
        if found.target:
            lines[1:] = ['  It has returned another task, whose value a worker is to sign as its '
                         'own.']
        if found.aside is not None:
            lines.append(f'  It has stood aside for {span(found.aside)}, for a pool that has it.')
        if found.grace is not None:
            lines.append(f'  If none comes in the next {span(found.grace)} it will fail, see '
                         '`unknown_grace`.')
        if found.deliveries:
            lines.append('  It came back from a worker that was lost, or from a pool that does not '
                         f'know it (delivery {found.deliveries}).')
        return lines + self._past(id, found)

    def _processing(self, id: str, name: str, found: Inspection) -> list[str]:
        progress = Progress.decode(found.progress) if found.progress else None
        pool = self.pools.get(found.pool)
        worker = pool.running(id) if pool else None
        if worker is not None and worker.id != id:
            how = 'it waits behind another task that its worker runs'
        else:
            how = 'it runs' if progress or worker is not None else 'it runs, or is about to'
        since = '' if found.taken is None else f', and was taken {span(found.taken)} ago'
        lines = [f'is processing: {how}{since}.', f'  Pool {found.pool} has it'
                 + (f', which is process {pool.pid} on {pool.host}' if pool and pool.host else '')
                 + (f'; this is delivery {found.deliveries}' if found.deliveries > 1 else '') + '.']
        if pool and not pool.alive:
            lines.append(f'  That pool was last heard of {span(int(pool.seen * 1000))} ago.')
        elif worker is not None:
            lines += self._worker(id, worker)
        if pool and pool.alive and pool.blocked:
            lines.append(f'  In that pool {pool.blocked}.')
        if progress is not None:
            lines.append('  ' + report(progress))
        return lines + self._past(id, found)

    def _worker(self, id: str, worker: Worker) -> list[str]:
        """What the worker does that has a task."""
        seconds = span(int(worker.seconds * 1000))
        if worker.id != id:
            before = worker.behind.index(id)
            more = f', and {before:,} more are before it' if before else ''
            lines = [f'  Worker {worker.number} has run {worker.name} '
                     f'[{self.broker.name}:{worker.id}] for {seconds}{more}.']
        else:
            lines = [f'  Worker {worker.number} has run it for {seconds}.']
        if worker.state == WAITING:
            whose = 'It' if worker.id == id else 'That one'
            lines += [f'  {whose} waits for another task, and holds its worker meanwhile:',
                      *('  ' + line for line in self._others([worker.waits_for], 1))]
        return lines

    def _ended(self, id: str, end: str) -> str:
        try:
            value = self.known[id] if id in self.known else self._failure(id, end)
        except LookupError:
            return ('is unknown to the queue: it was never put, or nothing was to be kept of '
                    'it; or nothing needed it any more, or its result_timeout is over.')
        except DecodeError as error:
            return f'is over ({end}), but its outcome cannot be read here: {error}'
        if not isinstance(value, TaskFailure):
            return 'ended with success: it has its value.'
        for kind, word in [(TaskCancelled, 'was cancelled'), (TaskExpired, 'expired'),
                           (TaskFailure, 'failed')]:
            if isinstance(value, kind):
                break
        how = word if value.error == 'cancelled' else f'{word}: {value.error}'
        how = '; '.join([how, *getattr(value, '__notes__', ())])
        if value.task_id == id:
            return how
        return f'{word}, since {value.task_name} [{value.queue}:{value.task_id}], which it ' \
               f'depended on, {how}'

    def _failure(self, id: str, end: str) -> TaskFailure | None:
        """What it failed with; None for a value. That has to verify, but nothing is loaded."""
        raw, = self.broker.backend.results([id], end != const.SUCCESS)
        if raw is None:
            raise LookupError('nothing was kept of it')
        if raw and not is_value(raw):
            failure: TaskFailure = self.broker.decode(id, raw)
            return failure
        if raw:
            opened(self.broker.codec, id, raw)
        return None

    # -- parts --

    def _others(self, ids: Sequence[str], count: int) -> list[str]:
        """Those that a task waits for."""
        lines = []
        shown = 0
        fresh = [id for id in ids[:SHOWN] if id not in self.told]
        found = dict(zip(fresh, self.broker.backend.inspect(fresh))) if fresh else {}
        for id in ids[:SHOWN]:
            if id in self.told:
                lines.append(f'  [{self.broker.name}:{id}], see above.')
            elif len(self.told) < TASKS:
                lines += ['  ' + line for line in self.of(id, found[id])]
            else:
                break
            shown += 1
        if count > shown:
            lines.append(f'  ... and {count - shown:,} more.' if shown else '  ...')
        return lines

    def _who(self, name: str) -> str:
        """Which pools could take it."""
        alive = [pool for pool in self.pools.values() if pool.alive]
        if not alive:
            return f'No pool works on this queue{self._elsewhere()}.'
        one = len(alive) == 1
        many = '1 pool works' if one else f'{len(alive)} pools work'
        told = [pool.tasks for pool in alive if pool.tasks is not None]
        known = sum(name in names for names in told)
        broken = [shortened(pool.broken) for pool in alive if pool.broken]
        if broken and len(broken) == len(alive):
            whose = 'its' if one else 'their'
            return f'{many} on this queue, but none of {whose} workers could begin: {broken[-1]}'
        more = f' None of the workers of {len(broken)} of them could begin: {broken[-1]}' \
            if broken else ''
        if all(pool.starting for pool in alive):
            return f'{many} on this queue, and {"is" if one else "are"} still starting.'
        if all(pool.stuck for pool in alive):
            first = alive[0].workers[0]
            more += (f' But all of {"its" if one else "their"} workers run tasks that wait for '
                     f'others, as {first.name} [{self.broker.name}:{first.id}] does: let a task '
                     'return the Deferred, or take it as an argument.')
        if known:
            who = 'it knows' if one else f'{known} of them know{"s" * (known == 1)}'
        elif len(told) < len(alive):
            return f'{many} on this queue.{more}'
        else:
            who = 'it does not know' if one else 'none of them knows'
        return f'{many} on this queue; {who} a task of this name.{more}'

    def _names(self, name: str) -> list[str]:
        """What the pools know, if none of them knows a task of this name."""
        alive = [pool for pool in self.pools.values() if pool.alive and not pool.broken]
        told = [pool.tasks for pool in alive if pool.tasks is not None]
        if not told or any(name in names for names in told):
            return []
        lines = []
        for pool in alive[:SHOWN]:
            if pool.tasks is None:
                knows = 'has not told yet which tasks it has, or they are too many to tell'
            else:
                near = get_close_matches(name, pool.tasks, SHOWN, 0.5) or pool.tasks[:SHOWN]
                n = len(pool.tasks)
                knows = f'has {n:,} task{"s" * (n != 1)}, {"as " if n > len(near) else ""}' \
                    + ', '.join(line(one, NAME) for one in near)
            lines.append(f'  Pool {pool.id} {knows}.')
        return lines

    def _elsewhere(self) -> str:
        """Other queues at this address on which pools work."""
        backend = self.broker.backend
        names: list[str] = []
        try:
            for name in backend.queues()[:QUEUES]:
                if name != self.broker.name and len(names) < SHOWN:
                    other = backend.open(backend.url, name, **backend.options)
                    names += [repr(name)] if live(other.pools()) else []
        except Exception:   # it may be one that this program may not, or cannot, ask
            pass
        if not names:
            return ''
        *first, last = names
        return f'; there are pools on {", ".join(first)}{" and " if first else ""}{last}'

    def _memo(self, id: str, found: Inspection) -> Memo | None:
        if not found.memo:
            return None
        try:
            return Memo.decode(self.broker.codec.decode_memo(id, found.nonce, found.memo))
        except Exception:   # it may be anything, where nothing is signed
            return Memo()

    def _past(self, id: str, found: Inspection) -> list[str]:
        memo = self._memo(id, found)
        if memo is None or not memo.errors:
            return []
        return [f'  This is attempt {memo.attempts + 1}; the one before ended with '
                f'{memo.errors[-1]}']


# -- for people ------------------------------------------------------------------------


def report(progress: Progress) -> str:
    """Progress as a sentence."""
    text = f'It is at {progress.done:,}'
    if progress.total is not None:
        text += f' of {progress.total:,}'
        if progress.total > 0:
            text += f' ({100 * progress.done / progress.total:.0f} %)'
    return text + (f': {progress.text}' if progress.text else '.')


def span(ms: int) -> str:
    """A duration, in its two largest units."""
    ms = max(ms, 0)
    if ms < 10_000:
        return f'{ms / 1000:.1f} s'
    seconds = ms // 1000
    parts = [(seconds // 86_400, 'd'), (seconds // 3600 % 24, 'h'), (seconds // 60 % 60, 'min'),
             (seconds % 60, 's')]
    first = next(at for at, (number, _) in enumerate(parts) if number)
    return ' '.join(f'{number} {unit}' for number, unit in parts[first:first + 2] if number)


def moment(ms: int) -> str:
    """A moment to come: how long it is until then, and the time of day."""
    try:
        at = datetime.now().astimezone() + timedelta(milliseconds=ms)
    except OverflowError:
        return f'in {span(ms)}'
    day = '' if at.date() == datetime.now().date() else '%Y-%m-%d '
    return f'in {span(ms)} (at {at.strftime(f"{day}%H:%M:%S")})'
