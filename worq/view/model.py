"""The read model: ``broker.view()``. Each of its answers takes a few bounded reads of the queue."""
from __future__ import annotations

from typing import Any, Iterable, NamedTuple

from worq import const, pools
from worq.errors import DecodeError, QueueError, TaskFailure
from worq.explain import explain
from worq.info import IGNORED, begun_at
from worq.pausing import pauses
from worq.pieces import pieces
from worq.printable import SHORT, line, lines, unescaped
from worq.progress import Progress
from worq.queue import base
from worq.queue.base import Inspection, Minute, Totals
from worq.retry import Memo
from worq.view.counts import ends, oldest
from worq.view.drawing import Graph
from worq.view.failed import failed
from worq.view.folding import fold, missing
from worq.view.lately import by_minute, by_name, ended, patterns, samples
from worq.view.pace import Sample, noted, pace
from worq.view.records import (
    Arguments, Death, Details, Failed, MinuteRow, NameRow, Overview, Page, Paused, PoolRow, Row,
    Running, WorkerRow,
)
from worq.view.shown import Redact, Show, show_call, show_value

__all__ = ['View']

LINES = 100     # of a header that are shown, at most ...
OPTION = 1_000  # ... and characters of each
TASKS = 2_000   # that are looked at for one graph, about ...
GLANCE = 50     # ... those that one step has no room for, so many at a time
STEPS = 50      # pages of the queue that are looked at for one page here
OFTEN = 5_000   # ms for which the numbers of the last hour are kept
LONG = 'it is long, and so it was not looked at'


class Hour(NamedTuple):
    """What there was in the last one."""

    at: int     #: the moment when it was asked for
    ended: dict[str, int]
    samples: list[Sample]


class View:
    """A queue as people see it. Nothing that it does changes the queue, or runs code of tasks.

    It answers records, whose values are plain and whose texts can be printed; ``worq.view.plain``
    makes dicts and lists of them. ``broker.view()`` makes one. It may be used by many threads.

    :param broker: the `Broker` of the queue.
    :param redact: says what is shown of values, by ``redact(task, key, text)``: the name of a task;
        the position of an argument from ``'1'``, its name, the key of a dict or the name of an
        attribute anywhere within, or ``'result'``; and its text. What it returns is shown instead;
        if it raises, nothing is.
    """

    def __init__(self, broker: Any, redact: Redact | None = None) -> None:
        self.broker = broker
        self.redact = redact
        self._samples: tuple[Sample, ...] = ()
        self._last = Hour(-OFTEN, {}, [])

    def __repr__(self) -> str:
        return f'<View of {self.broker.backend.safe_url} [{line(self.broker.name)}]>'

    # -- the whole ------------------------------------------------------------

    def overview(self) -> Overview:
        """The queue in numbers.

        Whether it drains or grows is told by how many tasks were ready in the last five minutes,
        while pools have run something, or since this was called before.
        """
        totals = self.totals()
        stats = totals.stats
        hour = self._hour(totals.now)
        now = Sample(totals.now / 1000, stats[const.ENQUEUED])
        drain, grows = pace(sorted([*hour.samples, *self._samples]), now)
        self._samples = noted(self._samples, now)
        living = [pool for pool in self.pools() if pool.alive]
        running = [Running(worker.id, worker.name, worker.seconds, pool.id, worker.number)
                   for pool in living for worker in pool.workers if worker.id]
        return Overview(
            line(self.broker.name), line(self.broker.backend.safe_url),
            pools.engine(self.broker.url),
            {state: stats[state] for state in const.LIVE}, oldest(totals),
            self._due(stats, totals.now), drain, grows, hour.ended,
            {**ends(stats), **{word: stats[word] for word in ('redelivered', 'stale')}},
            len(living), sum(pool.size for pool in living), len(running),
            max(running, key=lambda each: each.seconds, default=None), self.paused())

    def paused(self) -> tuple[Paused, ...]:
        """What is paused, the oldest first."""
        return tuple(Paused(line(one.pattern), line(one.who), one.moment)
                     for one in pauses(self.broker.backend))

    def totals(self) -> Totals:
        """How the queue stands, and what has been counted ever, as the queue tells it."""
        found: Totals = self.broker.backend.totals()
        return found

    def minutes(self, hours: float = 1, name: str = '') -> tuple[MinuteRow, ...]:
        """What there was in each of the last minutes in which pools have told anything.

        :param hours: eight at most.
        :param name: of tasks: ``'mail.send'``, or ``'mail.*'``, or several with commas in between;
            empty: any.
        """
        return by_minute(self._minutes(hours), patterns(name))

    def names(self, hours: float = 1, name: str = '') -> tuple[NameRow, ...]:
        """The tasks of the last hours by their names, those that took most time first.

        :param hours: eight at most.
        :param name: as for ``minutes``.
        """
        return by_name(self._minutes(hours), patterns(name))

    def pools(self) -> list[PoolRow]:
        """The pools, and what their workers do: those that are alive first, by host."""
        found = pools.known(self.broker.backend.pools())
        return sorted(map(pool_row, found), key=lambda pool: (not pool.alive, pool.host, pool.pid))

    def queues(self) -> list[str]:
        """The names of the queues at this address, as far as that is known."""
        return sorted(map(line, {*self.broker.backend.queues(), self.broker.name}))

    # -- many tasks -----------------------------------------------------------

    def tasks(self, state: str, name: str = '', newest: bool = True, cursor: str = '',
              count: int = 50) -> Page:
        """Tasks that are in a state, a page of them.

        Of those that failed, expired or were cancelled the last ten thousand are known, of those
        that succeeded what pools have told of lately. What moves meanwhile may be missed, or come
        twice. A page may have few tasks, or none, where others are looked through to find them.

        :param state: a word of ``worq.const.STATES``.
        :param name: of tasks: ``'mail.send'``, or ``'mail.*'``, or several with commas in between;
            empty: any.
        :param newest: the newest first; else the oldest, or what is next.
        :param cursor: that of the page before.
        :param count: tasks in it, at most.
        :raises ValueError: for a state that is none.
        """
        rows: list[base.Row] = []
        for _ in range(STEPS):
            more, cursor = self.broker.backend.scan(
                state, patterns(name), newest, cursor, min(count - len(rows), const.ROWS))
            rows += more
            if not cursor or len(rows) >= count:
                break
        return Page(tuple(map(shown_row, rows)), cursor)

    def failed(self, name: str = '', most: int = const.ENDED, error: str = '') -> list[Failed]:
        """What failed or expired lately, by name, state and error: the largest group first.

        What failed because of another counts as a follower of that one. Each outcome is read, so
        of ten thousand it takes a second or so.

        :param name: as for ``tasks``; followers may have any.
        :param most: of how many of the last ones, of each state.
        :param error: only those whose error has this in it.
        """
        return failed(self.broker, patterns(name), most, error)

    # -- one task -------------------------------------------------------------

    def task(self, id: str, arguments: bool = True) -> Details | None:
        """All there is to see of a task; None if the queue does not know it.

        :param arguments: whether its arguments and its value are shown. They are not loaded for
            that, and only what has been signed by somebody who knows the secret is shown.
        """
        try:
            id, found = self._found(id)
        except QueueError as damage:
            if not damage.damaged:
                raise
            return Details(line(id), note=line(damage))
        if found is None:
            return None
        name = line(found.header.partition(b'\n')[0].decode('utf-8', 'replace'), SHORT)
        header = found.header.decode('utf-8', 'replace').split('\n')
        begun, worker, seconds = self._run(id, found)
        times = found.times
        outcome = self._outcome(id, name, found, arguments)
        size, args, sources = self._message(id, name, found, arguments)
        return Details(
            line(id), name, found.state, moment(times.put), moment(times.ready), begun,
            moment(times.ended), span(found.due), span(found.expires), times.attempt,
            found.deliveries, line(found.pool), worker, seconds,
            said(found.progress),
            found.open, tuple(map(line, [found.target] if found.target else found.arguments)),
            line(found.target), line(found.gate), times.peak or None, times.skipped,
            tuple(line(option, OPTION) for option in header[1:LINES + 1]), size, args, sources,
            tuple(Death(moment(at), line(pool), line(text), said(raw))
                  for at, pool, text, raw in found.deaths),
            self._errors(id, found), *outcome,
            explain(self.broker, id, name),
            line(IGNORED if found.ignored else found.lost))

    def explain(self, id: str) -> str:
        """Why a task is not done yet, or how it ended, as ``Deferred.explain`` tells it."""
        id, found = self._found(id)
        return explain(self.broker, id, 'the task')

    def graph(self, id: str, up: int = 3, down: int = 3,
              open: Iterable[str] = ()) -> Graph | None:
        """The graph around a task; None if the queue does not know it.

        A task that has ended tells a few of its neighbours only. Five or more tasks of one name
        that the same tasks wait for are one node, a stack.

        :param up: how many levels of what it waits for.
        :param down: how many levels of what waits for it.
        :param open: keys of stacks, of which a hundred tasks are shown one by one; twice the same
            key: two hundred.
        """
        backend = self.broker.backend
        found = backend.family(id, up, down, const.NODES)
        if not found and (other := unescaped(id)) != id:
            found = backend.family(other, up, down, const.NODES)
        if not found:
            return None
        found[0] = self._wide(found[0])
        asked: set[str] = set()
        while len(found) < TASKS:   # what there was no room for in the first step
            more = [(id, level) for id, level in missing(found, up, down) if id not in asked]
            if not more:
                break
            more = more[:TASKS - len(found)]
            asked.update(id for id, _ in more)
            for some in map(dict, pieces(more, GLANCE)):
                first, *others = some
                found += [node._replace(level=some[node.id])
                          for node in backend.family(first, 0, 0, GLANCE, others)]
        return fold(found, open)

    # -- parts --

    def _wide(self, node: base.Node) -> base.Node:
        """A task with arguments that a graph has no room to tell: the first thousand."""
        if node.state not in const.LIVE or node.width <= len(node.arguments):
            return node
        content, = self.broker.backend.message([node.id])
        if content is None or content.nonce != node.nonce:   # it has ended meanwhile
            return node
        return node._replace(arguments=content.arguments)

    def _minutes(self, hours: float) -> list[Minute]:
        found: list[Minute] = self.broker.backend.minutes(
            min(max(round(hours * 60), 1), const.MINUTES))
        return found

    def _hour(self, now: int) -> Hour:
        """The last hour; it is asked for now and then, by whoever looks each second."""
        kept = self._last
        if not kept.at <= now < kept.at + OFTEN:
            minutes = self._minutes(1)
            self._last = kept = Hour(now, ended(minutes), samples(minutes, now))
        return kept

    def _found(self, id: str) -> tuple[str, Inspection | None]:
        """A task by its id, or by what is shown of it; and the id that it has."""
        found, = self.broker.backend.inspect([id])
        if found is None and (other := unescaped(id)) != id:
            there, = self.broker.backend.inspect([other])
            if there is not None:
                return other, there
        return id, found

    def _run(self, id: str,
             found: Inspection) -> tuple[float | None, int | None, float | None]:
        """When it was begun; the number of the worker that has it, and for how long it has run."""
        if found.state != const.PROCESSING:
            return moment(found.times.begun), None, None
        told = self.broker.backend.pools().get(found.pool)
        worker = pools.read(found.pool, told).running(id) if told else None
        if worker is None:
            return None, None, None
        return (begun_at(id, found, worker), worker.number,
                worker.seconds if worker.id == id else None)

    def _message(self, id: str, name: str, found: Inspection,
                 show: bool) -> tuple[int | None, Arguments | None, tuple[str, ...]]:
        """How long its arguments are, and what; and which tasks are among them."""
        if found.state in (const.SUCCESS, const.CANCELLED):
            return None, None, ()
        content, = self.broker.backend.message([id])
        if content is None or content.nonce != found.nonce:   # it has ended meanwhile
            return None, None, ()
        if not show:
            args = None
        elif len(content.body) < content.size:
            args = Arguments((), {}, f'{content.size:,} bytes are too many to be shown')
        else:
            args = show_call(self.broker.codec, id, content.nonce, content.header, content.body,
                             Show(name, self.redact))
        return content.size, args, tuple(map(line, content.arguments))

    def _due(self, stats: dict[str, int], now: int) -> float | None:
        """In how many seconds the next one is due."""
        if not stats[const.SCHEDULED]:
            return None
        rows, _ = self.broker.backend.scan(const.SCHEDULED, count=1)
        return max(rows[0].due - now, 0) / 1000 if rows else None

    def _errors(self, id: str, found: Inspection) -> tuple[str, ...]:
        """Those of earlier attempts."""
        if not found.memo:
            return ()
        try:
            memo = Memo.decode(self.broker.codec.decode_memo(id, found.nonce, found.memo))
        except Exception:   # it may be anything, where nothing is signed
            return ()
        return tuple(map(line, memo.errors))

    def _outcome(self, id: str, name: str, found: Inspection,
                 arguments: bool) -> tuple[str, str, str, str]:
        """The value, or the error and its traceback, as texts; and where it comes from."""
        if found.state not in const.ENDS.values():
            return '', '', '', ''
        success = found.state == const.SUCCESS
        raw, = self.broker.backend.results([id], not success)   # values may be long
        if not raw:
            return (f'({LONG})' if raw is not None else ''), '', '', ''
        try:
            record = base.unpack(raw)
            origin = line(record.origin[0]) if record.origin else ''
            if record.kind == base.VALUE:
                show = Show(name, self.redact)
                text = show_value(self.broker.codec, id, raw, show) if arguments else ''
                return text, '', '', origin
            failure: TaskFailure = self.broker.decode(id, raw)
        except (DecodeError, ValueError) as error:
            return '', f'({line(error)})', '', ''
        return '', line(failure.error), lines(failure.traceback), origin


def pool_row(pool: pools.Pool) -> PoolRow:
    """A pool as it is shown."""
    workers = [WorkerRow(worker.number, worker.state, line(worker.id), worker.name, worker.seconds,
                         line(worker.waits_for), tuple(map(line, worker.behind)))
               for worker in pool.workers]
    return PoolRow(
        pool.id, pool.kind, pool.host, pool.pid, pool.version, pool.seen, pool.alive, pool.size,
        sum(bool(worker.id) for worker in workers), pool.stuck, line(pool.broken),
        None if pool.tasks is None else tuple(map(line, pool.tasks)), tuple(workers), pool.blocked)


def shown_row(row: base.Row) -> Row:
    return Row(line(row.id), line(row.name, SHORT), row.state, moment(row.since), moment(row.due),
               line(row.pool), row.attempt)


def span(ms: int | None) -> float | None:
    """In seconds."""
    return None if ms is None else ms / 1000


def moment(ms: int) -> float | None:
    """In seconds since the epoch."""
    return ms / 1000 or None


def said(raw: bytes) -> dict[str, Any] | None:
    """How far a task had come, as it told last."""
    progress = Progress.decode(raw) if raw else None
    return None if progress is None else progress._replace(text=line(progress.text))._asdict()
