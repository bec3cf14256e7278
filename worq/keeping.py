"""What a Broker does for whoever keeps its queue: cancel, purge, revive, pause, who did so."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from worq import const
from worq.acts import KEPT, Act, acts, enter
from worq.codec import Codec
from worq.downstream import follow
from worq.errors import QueueError
from worq.inbox import Inbox
from worq.moving import Conflict, Moved, Side, forget_move, move, moving_to
from worq.pausing import pause, pauses, resume
from worq.pieces import pieces
from worq.pools import Pool, live
from worq.printable import logger, unescaped
from worq.queue.base import Revival, TaskQueue
from worq.queue.pauses import ALL, Pause
from worq.queue.validation import ID_BYTES
from worq.rotation import sealed_anew
from worq.schedules.table import Schedules
from worq.trust import CALL
from worq.upstream import cancel_upstream

__all__ = ['Keeping', 'own_id']

log = logger(__name__)

FEW = 20   # ids that are noted of those that somebody cancels


class Keeping:
    """The part of a Broker that acts on its queue as a whole."""

    backend: TaskQueue
    codec: Codec
    inbox: Inbox

    def cancel(self, task_id: str, upstream: bool = False, by: str = '') -> bool:
        """Cancel a task by its id, with all that depends on it.

        :param upstream: also what it waits for, as ``Deferred.cancel`` does.
        :param by: who does it, to be noted in ``acts()``; if empty, nothing is noted.
        :returns: whether it was cancelled; False if it had completed or is unknown.
        :raises QueueError: if the queue cannot be reached.
        """
        return self.cancel_all([own_id(task_id)], upstream, by)[0] == 'cancelled'

    def cancel_all(self, ids: Sequence[str], upstream: bool = False, by: str = '') -> list[str]:
        """Cancel many tasks, as ``cancel`` does with one, with the same `upstream` and `by`.

        :returns: for each id ``'cancelled'``, ``'completed'`` or ``'unknown'``.
        :raises TypeError: for ids that are no strings.
        """
        ids = texts(ids)
        words = cancel_upstream(self.backend, ids, self.inbox.client, self.inbox.awaited) \
            if upstream else self.backend.cancel(ids)
        self._enter(by, 'cancel', words.count('cancelled'), ids)
        return words

    def cancel_shown(self, ids: Sequence[str], upstream: bool = False, by: str = '') -> list[str]:
        """Cancel many tasks by ids as people are shown them, perhaps with escapes; with the same
        `upstream` and `by`."""
        words = self.cancel_all(ids, upstream, by)
        for n, word in enumerate(words):
            if word == 'unknown' and (other := unescaped(ids[n])) != ids[n]:
                words[n], = self.cancel_all([other], upstream, by)
        return words

    def revive(self, task_id: str, downstream: bool = False, timeout: float | None = None,
               by: str = '', *, retries: int | None = None, priority: str | None = None) -> bool:
        """Run a task that has failed or expired again, as a person wants it: the same task, with
        the arguments that it had.

        Deferreds that have read its failure keep that until ``refresh()``. A queue keeps what
        failed for as long as a result: the last ten thousand, and 64 MB at most.

        :param downstream: with all that failed because of it.
        :param timeout: seconds that an attempt may take from now on; None: as before.
        :param by: who does it, to be noted in ``acts()``; if empty, nothing is noted.
        :param retries: how often it is tried again if it fails now; None: as before.
        :param priority: 'high', 'normal' or 'low'; None: as before. What failed because of it has
            the options that it had.
        :returns: whether it runs again; False if it has not failed, or its failure is not kept any
            more.
        :raises QueueError: if the queue cannot be reached.
        :raises ValueError: for an option that makes no sense; with timeout or retries, also for
            arguments that are too long to be signed again.
        """
        return self.revive_all([own_id(task_id)], downstream, timeout, by, retries=retries,
                               priority=priority)[0] == 'revived'

    def revive_all(self, ids: Sequence[str], downstream: bool = False,
                   timeout: float | None = None, by: str = '', *, retries: int | None = None,
                   priority: str | None = None) -> list[str]:
        """Run many again, as ``revive`` does with one, with the same `downstream`, `timeout`, `by`,
        `retries` and `priority`; for each a word, see ``TaskQueue.revive``.

        :raises TypeError: for ids that are no strings.
        """
        ids = texts(ids)
        words: list[str] = []
        lines = new_lines(timeout, retries)
        size = const.CONTENTS if lines else const.REVIVALS
        if priority is not None and priority not in const.PRIORITIES:
            raise ValueError(f'invalid priority: {priority!r}; '
                             f'there are {", ".join(const.PRIORITIES)}')
        number = -1 if priority is None else const.PRIORITIES[priority]
        try:
            for some in pieces(ids, size):
                failures = self._with_lines(some, lines) if lines else map(Revival, some)
                words += self.backend.revive(self._fenced(
                    [one._replace(priority=number) for one in failures]), downstream)
            if downstream and len(ids) > 1:
                follow(self.backend, {id for id, word in zip(ids, words) if word != 'gone'})
        finally:
            self._enter(by, 'revive', words.count('revived'), ids)
        return words

    def _enter(self, by: str, what: str, count: int, ids: Sequence[str]) -> None:
        """Note what was done to so many of these, if to any."""
        if by and count:
            enter(self.backend, by, what, count, ' '.join(ids[:FEW]))

    def _fenced(self, failures: Sequence[Revival]) -> list[Revival]:
        """The same, of this very end only: sent again after a reply that was lost, they revive
        nothing that has failed once more. What was signed for one life stays that life's."""
        return [one if seen is None or one.nonce not in ('', seen.nonce)
                else one._replace(nonce=seen.nonce, ended=seen.times.ended)
                for one, seen in zip(failures, self.backend.inspect([one.id for one in failures]))]

    def _with_lines(self, ids: Sequence[str], lines: dict[bytes, bytes]) -> list[Revival]:
        """Failures with other lines in their headers."""
        failures = []
        for id in ids:   # one at a time, for as many bytes as there may be
            content, = self.backend.message([id])
            if content is None:
                failures.append(Revival(id))
                continue
            if len(content.body) < content.size:
                raise ValueError(f'the arguments of {id!r} are too long to be signed anew here: '
                                 f'{content.size:,} bytes')
            name, *others = content.header.split(b'\n')
            kept = [each for each in others if each.partition(b' ')[0] not in lines]
            new = b'\n'.join([name, *kept, *lines.values()])
            payload = self.codec.open(CALL, id, content.nonce, content.header, content.body)
            failures.append(Revival(
                id, content.nonce, 0, new,
                sealed_anew(self.codec, content.body, id, content.nonce, new, payload)))
        return failures

    def pools(self) -> list[Pool]:
        """The pools of this queue that are alive, and what their workers do.

        A pool tells that with its heartbeats, once a second while it runs something. So it may be a
        second old.
        """
        return live(self.backend.pools(), self.backend.url)

    def __len__(self) -> int:
        """How many tasks of the queue are not done yet, pending ones among them."""
        return self.backend.size()

    def discard_pending_tasks(self, by: str = '') -> int:
        """Cancel all tasks that have not begun; those that run go on.

        :param by: as for ``cancel``.
        :returns: how many were cancelled.
        """
        count = self.backend.purge()
        enter(self.backend, by, 'purge', count)
        return count

    def forget_all(self, ids: Sequence[str], by: str = '') -> list[str]:
        """Delete the results and failures of tasks before their time; for each what
        ``TaskQueue.forget`` says.

        :param by: as for ``cancel``.
        :raises TypeError: for ids that are no strings.
        """
        ids = texts(ids)
        words = self.backend.forget(ids)
        self._enter(by, 'forget', words.count('forgotten'), ids)
        return words

    def delete(self, force: bool = False) -> None:
        """Delete the queue with all that is in it: tasks, results, schedules, pauses, the log.

        Whoever waits for a result gets `TaskExpired`.

        :param force: also while pools work on it.
        :raises QueueError: if pools do; if the queue cannot be reached.
        """
        alive = [] if force else self.pools()
        if alive:
            raise QueueError(f'{len(alive):,} pools work on {self.backend.name}, as {alive[0].id}: '
                             'stop them first')
        self.backend.delete()
        log.info('the queue %s at %s was deleted', self.backend.name, self.backend.safe_url)

    def move_tasks(self, to: Side, timeout: float | None = 60, by: str = '') -> Moved:
        """Move all that is queued, scheduled or pending into another queue, of whatever engine,
        with edges, ids, and the results that it needs; each task is in one of them, and runs once.

        The queue is paused for that, and what runs is waited for. It goes in bounded steps. When it
        was interrupted, do it again, and it goes on. Who waits for one of these tasks here hears
        that it was cancelled, and where it is. Not moved are results that nothing waits for, what
        failed, schedules and pauses; nor what is put here afterwards: have those who call use the
        other queue before.

        :param to: the broker of the other queue.
        :param timeout: seconds to wait for what runs, or is being put; None: for ever.
        :param by: as for ``cancel``.
        :returns: how many there were.
        :raises ValueError: if it is the same queue.
        :raises QueueError: if the other queue has a task with an id of one of them, and then all is
            as it was; if what runs takes too long; if a queue cannot be reached.
        """
        return move(self, to, timeout, by)

    def pause(self, names: str | Sequence[str] = ALL, by: str = '') -> list[str]:
        """Have no pool take any of these tasks until they are resumed.

        What runs goes on, and a pool may have taken what its workers do in the next moment. What is
        paused is put, waits and expires as ever.

        :param names: of tasks: ``'mail.send'``, ``'mail.*'`` for all that begin with ``mail.``, or
            several; by default the whole queue.
        :param by: as for ``cancel``; it is also told to whoever asks why a task waits.
        :returns: those that have not been paused before.
        :raises ValueError: if something else is asked for, or too many names.
        """
        done = pause(self.backend, names, by)
        if done:
            enter(self.backend, by, 'pause', 0, ' '.join(done))
        return done

    def resume(self, names: str | Sequence[str] = ALL, by: str = '',
               force: bool = False) -> list[str]:
        """End pauses.

        :param names: the very names that were paused; by default the whole queue.
        :param by: as for ``cancel``.
        :param force: also while the queue is being moved, and will not be any more. What is in the
            other queue by then, and was not taken from this one yet, may run in both.
        :returns: those that were paused until now.
        :raises QueueError: if it is being moved, or that was interrupted and has to go on.
        """
        whole = ALL in ([names] if isinstance(names, str) else names)
        if whole and (to := moving_to(self.backend)):
            if not force:
                raise Conflict(f'{self.backend.name} is being moved to {to}. If that was '
                               'interrupted, do it again, as by worq move, and it goes on')
            forget_move(self.backend)
        done = resume(self.backend, names)
        if done:
            enter(self.backend, by, 'resume', 0, ' '.join(done))
        return done

    def pauses(self) -> list[Pause]:
        """What is paused, by whom and since when, the oldest first."""
        return pauses(self.backend)

    @property
    def schedules(self) -> Schedules:
        """What is called at regular times: set, get, list, pause, resume, run, forget."""
        return Schedules(self)

    def acts(self, limit: int = KEPT) -> list[Act]:
        """What people did to the queue, the newest first, as far as they said who they are.

        :param limit: how many, at most. The queue keeps the last thousand.
        """
        return acts(self.backend, limit)


def own_id(id: object, args: tuple[Any, ...] = (), kw: dict[str, Any] | None = None) -> str:
    """The id that a caller chose for a task: a text, or what makes one of the arguments.

    :raises ValueError: if it is no string of 1 to 512 bytes.
    """
    if callable(id):
        id = id(*args, **(kw or {}))
    try:
        if isinstance(id, str) and 0 < len(id.encode()) <= ID_BYTES:
            return id
    except UnicodeEncodeError:  # half a surrogate pair
        pass
    raise ValueError(f'invalid task id: {id!r}; it is a string of 1 to {ID_BYTES} bytes in UTF-8')


def texts(ids: Sequence[str]) -> list[str]:
    """The ids of several tasks, as they are; a queue may know them or not.

    :raises TypeError: if one is no text, or there is but a text.
    """
    if isinstance(ids, str):
        raise TypeError(f'a list of ids is needed, not the text {ids!r}')
    found = list(ids)
    for id in found:
        if not isinstance(id, str):
            raise TypeError(f'the id of a task is a string, not {id!r}')
    return found


def new_lines(timeout: float | None, retries: int | None) -> dict[bytes, bytes]:
    """The lines of a header that say so, by their first words.

    :raises ValueError: for what makes no sense.
    """
    lines = {}
    if timeout is not None:
        const.check_span('timeout', timeout, above=True)
        lines[b'timeout'] = b'timeout %d' % max(1, round(timeout * 1000))
    if retries is not None:
        lines[b'retries'] = b'retries %d' % const.check_count('retries', retries, 0)
    return lines
