"""The contract of a task queue. These docstrings are the law; a backend obeys them.

A queue stores ids, numbers and bytes. It knows nothing of functions, pickles or secrets.
``worq.queue.memory``, ``worq.queue.sqlite`` and ``worq.queue.redis`` implement it, answer alike to
the last word, and are held to it by one suite of tests and one model.

**Life and nonce.** An id may be used again once its task is done with. Each use is a *life*
and has a nonce of its own, `const.NONCE` characters that the caller makes. Edges, pins and
tokens name the life, so that nothing left over from an old one touches a new one.

**Token.** ``take`` gives each delivery a token: the nonce, then the number of the delivery
(its epoch) in decimal. Together with the pool's id it fences: an outcome or a heartbeat
whose token is not the one in force is refused.

**Outcome on record.** What a completed task left, as bytes that carry their origin:

* ``nonce kind data`` for an outcome of the task's own;
* ``nonce KIND origin_nonce length ':' origin_id data`` for one that came to it along edges: the
  failure of an argument, or whatever the Deferred it returned came to;
* ``nonce KIND count ':' hops data`` for one that came along edges that are sealed. Each hop is
  ``nonce length ':' id length ':' seal``, the nearest first; the last one is the origin.

`nonce` is the life's; `kind` is one letter (`VALUE`, `FAILURE`, `EXPIRED`, `CANCELLED`), in
upper case when an origin follows; `count` and `length` are decimal, of hops and of bytes.
`VALUE` and `FAILURE` data are envelopes of the codec. `EXPIRED` and `CANCELLED` are made by
the queue itself, so their data is text: the name of the task, a line feed, what happened.
``unpack`` reads them, and ``path`` their hops. A task put with `IGNORE_RESULT` leaves none.

**Seals.** The queue can sign nothing. So whoever gives it an edge may give a seal with it (see
`Hop`), and then it tells with a value or a failure the edges that it came along. (Of what
the queue made itself it tells the origin alone: that is not signed anyway.) There are at
most `const.LINKS` hops:

* A failure that came along more has the nearest ones, and the origin, without a seal then.
* A value that would come along more tail calls is signed anew. Its task does not complete, but is
  enqueued at the front once more. The delivery has the task that it waited for as its last
  argument, and as memo the seal of that edge; deliveries count anew. Whoever
  takes it settles what that argument came to, as the task's own value. So a chain of tail calls
  may have any length, and yet no record that grows with it, nor one that needs another.

**Same twice.** Every verb may be sent again by a caller that did not get the reply. The
second answer is the first one, except where a verb says how it differs.

**All or nothing.** Every verb is atomic. A verb never raises for what its caller can cause
(an unknown id, a lost lease): it answers a word. It raises `QueueError` if the backend is
out of reach or refuses to store, and `ValueError` for arguments that no caller should send.
Of so many bytes that they do not get through, while the backend can be reached, a `TooLarge`.

**From within.** A signal handler or a finalizer may call a verb, in a thread that it has
interrupted in a verb of the same queue. It works, or raises `RuntimeError` at once and has done
nothing; it never waits for what it has interrupted. A verb that a signal handler interrupts by an
exception is done, or is not; all else is as it should be when the next one begins.

**Schema.** What an engine stores for longer than a program runs has a number, and every verb that
relies on what is stored looks at it, in the same step. Of another number it does nothing, and
raises a `QueueError` with `schemas`, at once; or it migrates all in one step. The first ``put`` or
``join`` of a queue writes the number. Within one, programs of several versions work side by side:
each leaves alone the fields, keys and words that it does not know, also in a repair.

**Time.** All times are the backend's, in milliseconds; callers pass spans, never moments. A clock
that is set back by more than `const.TICK` goes on, for the queue, from the last tick.

**Tail calls** leave nothing behind. What a delivery delegates to, naming its life, was made to be
returned if its id is its nonce and nobody else has asked for it (it is no argument, nobody watches
it, no other tail call waits for it). If it has the usual `ttl`, it gets that of the task that
returned it where this is shorter, `const.TICK` if this ignores its result; and so does what it has
returned in turn.

**Let go.** A task with the flag `NEEDED` that has been an argument is one step of something. Once
it is completed and no argument list names it any more, its outcome is kept for another
`const.TICK`, or for its `ttl` if that is shorter. So it is only with a value: failures are named by
what has failed with them. And only if nobody has asked for it: if a client watches it when it
completes, or at any time after that, it is kept for its `ttl` as any other, and so is what never
was an argument.

**Circles.** A tail call that would wait for itself, through any number of arguments and tail calls,
ends as expired: at once, or where the search takes many steps with one of the next ticks.

**Ticks.** ``take``, ``beat`` and ``turn`` bring along what is due, at most every `const.TICK`:
up to `const.TICK_LIMIT` scheduled tasks, up to as many that expire, up to as many lost
leases, and a budget of leftover work (`const.BUDGET` units), so that no step is ever long.
A tick that reached a limit is followed by another with the next verb. A tick that finds that
none ran for `const.GAP` takes it that the backend was away, so live pools could not beat. It
gives leases that time back, but for a `const.TICK`, as far as they then end within `const.GRACE`;
and nothing is reaped for `const.GRACE`, unless such a pause has ended within `const.COOLDOWN`. A
task that becomes due goes to the back, but one that came back from a delivery to the front: it
had its turn.

**Lanes.** What is ready stands in two lanes for each priority: in one is what has arguments (a gate
is none), in the other all else. Within one it is first in, first out, but for what comes back to
its front. What has arguments goes first, so that a pipeline finishes what it has begun; but at most
`const.OVERTAKEN` of it go before the first of the others, counted anew for each that is first.

**Side lines.** What is first in a lane and may not go to who asks stands aside, in a line of its
own, and holds up nothing behind it. It is put aside once, so no take searches. It stays 'enqueued',
and is counted, cancelled, purged and expires as such; ahead of it are those before it in its line.
Who stands there keeps the moment at which it became ready.
When its reason is gone it is taken before what is in the lane, the longest there first.
There are two reasons, pauses and names.

**Pauses.** The register `const.PAUSES` says what is paused, see ``worq.queue.pauses``: from the
step in which it changes on, no pool takes any of that. What is taken already goes on. What waits
expires as ever, but its grace (see Names) does not run: it begins anew with the tick that finds it
paused no more. While the whole queue is paused, nothing is put aside either.

**Names.** While all pools have told the same, see ``join``, and nothing is paused, none is
looked at. Else a task goes to those that know its name, as long as one lives (was seen within
`const.LEASE`). One that has told none gets what no other knows. What nobody knows stands aside for
`unknown_grace`, from when it came there, or from the tick that found the last one gone. Then
it goes to the front of its lane, for anybody, and the outcome 'unknown' ends it.
"""
from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Callable, Iterable, Mapping, Sequence

from worq import const
from worq.const import GATE, IGNORE_RESULT, LENT, NEEDED, PASS   # flags of a message
from worq.errors import QueueError
from worq.queue.counting import Counting
from worq.queue.moving import Moving
from worq.queue.reading import Reading
from worq.queue.records import (
    CANCELLED, EXPIRED, FAILURE, KINDS, VALUE, Argument, Bell, Content, Death, Delivery, Held, Hop,
    Inspection, Late, Lost, Message, Minute, Node, Note, Outcome, Recent, Record, Refusal,
    Revival, Row, Times, Totals, Turn, path, unpack,
)
from worq.queue.registers import Registers
from worq.queue.reviving import Reviving
from worq.trust import without_password

__all__ = [
    'TaskQueue', 'Message', 'Argument', 'Refusal', 'Delivery', 'Outcome', 'Held', 'Late', 'Lost',
    'Turn', 'Inspection', 'Times', 'Bell', 'Hop', 'Record', 'Row', 'Node', 'Content', 'Death',
    'Recent', 'Minute', 'Totals', 'Revival', 'unpack', 'path', 'Note', 'NEEDED',
    'VALUE', 'FAILURE', 'EXPIRED', 'CANCELLED', 'KINDS', 'IGNORE_RESULT', 'PASS', 'GATE', 'LENT',
]


class TaskQueue(Reading, Reviving, Moving, Counting, Registers):
    """Queue and result store in one. Every method may be called from any thread.

    :param url: where the backend is.
    :param name: which of its queues this is. Queues of different names share nothing.
    """

    handful = 1_000     #: tasks that a pool should take in one turn, at most
    place = ''          #: which part of a backend it is in, for signatures to tell them apart
    shared = False      #: whether other users of this machine may write there
    heavy = 0           #: bytes of an outcome that a pool should settle by itself; 0: of none
    unknown_grace: int | None = None   #: ms, which pools of it tell; None: nothing

    def __init__(self, url: str, name: str = const.DEFAULT) -> None:
        self.url = url
        self.name = name
        self.options: dict[str, Any] = {}   #: what else it was opened with

    @classmethod
    def open(cls, url: str, name: str = const.DEFAULT, **options: Any) -> TaskQueue:
        """The queue of this url and name; what `options` there are is the backend's."""
        return cls(url, name, **options)

    @property
    def safe_url(self) -> str:
        """The url without user, password and options, for people and logs."""
        return without_password(self.url)

    def __repr__(self) -> str:
        return f'<TaskQueue {self.safe_url} [{self.name}]>'

    # -- producers ------------------------------------------------------------

    def put(self, messages: Sequence[Message], gate: str = '', client: str = '',
            note: Note | None = None) -> list[Refusal]:
        """Store tasks with their dependencies: all of them, or none.

        A message may name earlier messages of the same put among its arguments. A message
        whose nonce is that of the task stored under its id has been put before: it counts as
        stored and changes nothing. Otherwise an id is free if it is unknown, or if its task is
        completed, unpinned and has told all its dependents; a new life then replaces the
        old one and its outcome. An argument must be known in the life that is meant,
        not ignore its result, and have its outcome on record if it is completed.

        Messages are judged in order, each as if the ones before it had been stored: a
        message that takes an old life as its argument pins it, so a later message of the
        same put cannot replace it.

        A task with a failed argument and without `PASS` is completed at once with that
        failure (its first failed argument's), and so are the later ones that depend on it. A task
        with an open argument is pending; with none it is scheduled if it has a delay, else
        enqueued. Tasks of equal priority, and of one lane, are taken in the order in which they
        became enqueued, and here they do so in the order of `messages`.

        A task that `expires` is not begun any more from that moment on, also not again
        after a delivery that was lost, released or retried. It is completed as expired: by a
        tick, or by the first verb that meets it. While it is being processed, and after a tail
        call, it goes on.

        **A gate** holds back what is too much for one put. It is a message with the flag
        `GATE`, put alone: it is processing from then on, its first and only delivery (token:
        the nonce and ``1``) leased for its `lease` by the pool whose name is its id. With its
        id as `gate` further puts belong to it: nothing of them is ready before the gate has
        ended, and none of them runs if it ends with anything but a value, `PASS` or not.
        (Each has an open edge from the gate, which is no argument and not pinned.) Whoever
        builds beats for the gate, and settles it with a value to let everything go. If the
        builder dies or cancels the gate, what was put ends with that failure. A gate is no
        task: it cannot be an argument, how it ends is not counted, and any outcome that
        would bring a task back ends it as expired.

        :param messages: at most `const.PUT_LIMIT` of them, where each of their arguments counts
            as `const.EDGE` more, and `const.PUT_BYTES`; a single message may be larger, and
            have `const.PUT_LIMIT` arguments.
        :param gate: the id of a gate that is being held; ValueError if `messages` has
            a gate too. If it has ended, the first message is refused as 'unknown' with the
            gate as argument.
        :param client: who will wait for them. If they are stored it is as if it had watched each
            from its first moment on, so what this very put completes is news, too. Of what has
            been put before it watches what is live still.
        :param note: the register that is to be changed, if all are stored, and that must hold what
            it says; else the first refusal is 'changed', and tells what it holds. If it holds the
            new value already, and all messages have been put before, this very put is sent again.
            Not with a `gate`.
        :returns: empty if all are stored; else at least the first refusal, and
            nothing is stored.
        """
        raise NotImplementedError

    def begin_put(self, messages: Sequence[Message]) -> Callable[[], list[Refusal]]:
        """Begin a put, so that the next one can be made ready while this one is under way.

        :returns: to be called once, before anything else is put that comes after these: it ends
            the put, and returns what ``put`` does.
        :raises: here or there, what ``put`` does.
        """
        refusals = self.put(messages)
        return lambda: refusals

    def edges(self, gate: str, id: str, nonce: str, start: int,
              arguments: Sequence[Argument]) -> list[Refusal]:
        """Add arguments to a task that was put with a gate which still holds it back.

        So that a fan-in of any width is built in bounded steps. It is as if the task had been
        put with them: a failed one fails it, an open one is waited for, each is pinned.
        A task that is over already (by a failed argument, say) is left as it is, and so is
        one that is forgotten by now, whether its id has a new life or none.

        :param start: how many arguments it has before these. It has more if this is sent again,
            which changes nothing.
        :param arguments: at most `const.PUT_LIMIT`, distinct from each other and from those
            before; the latter is not checked.
        :returns: empty, or the refusal: 'unknown' for an argument as in ``put``, for the
            gate if it has ended, or for the task itself if it is not behind this gate or has
            fewer arguments than `start`; 'pinned' if something depends on it
            already, for then it might come to wait for itself.
        """
        raise NotImplementedError

    def using(self, connection: object) -> TaskQueue:
        """The queue by a connection of the caller's own, as a part of its transaction.

        What is put there exists if and only if that transaction commits, and is not to be taken
        before. ``put``, ``edges``, ``settle``, ``cancel`` and ``status`` work like that; the other
        verbs raise RuntimeError. An engine that has no transactions raises TypeError.

        :raises ValueError: if the connection is not one with this queue.
        """
        raise TypeError(f'{self!r} takes part in no transaction of others: only a queue in a file '
                        '(sqlite:///...) does, by a connection of sqlite3')

    def cancel(self, ids: Sequence[str], client: str | None = None) -> list[str]:
        """Complete tasks as cancelled, and their dependents by the way of failed arguments.

        A task that is being processed is fenced at once; its pool learns of it from its next
        ``beat``, which reports the delivery as lost with the word 'cancelled'.

        :param client: cancel only what nobody needs: no live task depends on it, and no client
            watches it but this one, if it has a name. What has more than `const.PUT_LIMIT` edges
            to what is over may count as needed, too.
        :returns: for each id 'cancelled', 'completed' (too late; also the answer when it
            is sent twice), 'needed' or 'unknown'.
        """
        raise NotImplementedError

    def purge(self) -> int:
        """Cancel whatever has not begun: enqueued, scheduled and pending tasks.

        None of them is taken any more once the call has begun. Tasks that are being
        processed go on. Tasks put meanwhile are not touched.

        :returns: how many were cancelled.
        """
        raise NotImplementedError

    # -- readers --------------------------------------------------------------

    def results(self, ids: Sequence[str], whole: bool = True) -> list[bytes | None]:
        """The outcome on record of each task; None if there is none (yet, or any more).

        :param whole: if not, a backend may answer b'' for one that takes long to come.
        :raises Unfinished: within a time that was over while they came. Nothing of it is in vain.
        """
        raise NotImplementedError

    def watch(self, client: str, ids: Sequence[str]) -> list[tuple[str, bytes | None]]:
        """Ask for news about tasks; what has ended already is the answer.

        Each id that is live is registered with the client's inbox, which gets an entry
        when it completes. To watch twice is harmless, and heals an inbox that was lost.

        :returns: for each id that will bring no news: (id, outcome on record), with None for an
            id that is unknown or left no outcome, and b'' where the outcome is longer
            than `const.SMALL` and is to be had from ``results``.
        """
        raise NotImplementedError

    def wait(self, client: str, timeout: float) -> list[tuple[str, bytes | None]]:
        """Wait for the client's inbox to fill, then empty it.

        One call serves any number of watched tasks. Only one thread may wait for a client.

        :param timeout: seconds, at most; a backend may return earlier with nothing.
        :returns: what became completed, in the form of ``watch``. An id may come twice.
        """
        raise NotImplementedError

    def ring(self, client: str) -> None:
        """End the ``wait`` of a client that is under way, or the next one, with nothing."""
        raise NotImplementedError

    def forget(self, ids: Sequence[str]) -> list[str]:
        """Drop outcomes before their time.

        :returns: for each id 'forgotten', 'pinned' (something still needs it), 'live', or
            'unknown' (also when it is sent twice).
        """
        raise NotImplementedError

    # -- pools ----------------------------------------------------------------

    def join(self, pool: str, info: Mapping[str, str]) -> None:
        """Make a pool known: `info` has its host, boot id, pid, start time, version.

        And 'tasks' once that is known: the names that it can run, a line each. And 'broken',
        one line, as long as none of its workers could begin: why. And 'kind', 'size' and
        'workers', see `worq.pools`. And 'unknown_grace', in ms: how long the queue keeps what no
        live pool knows, `const.UNKNOWN_GRACE` if nobody says; the last to tell decides. What is no
        such number, or more than `const.SPAN`, is told in vain.
        """
        raise NotImplementedError

    def tell(self, pool: str, info: Mapping[str, str]) -> bool:
        """Change some of what is known of a pool, see ``join``: an empty text is known no more.

        :returns: whether that is done; otherwise the pool is not known, and may join again.
        """
        return False

    def leave(self, pool: str) -> None:
        """Forget a pool that has settled or released all it had."""
        raise NotImplementedError

    def pools(self, beside: str = '') -> dict[str, dict[str, str]]:
        """The pools that joined, by id: `info`, and 'seen', the ms since they last beat.

        :param beside: a pool. Then only others that joined from the same place, with its 'host'
            and its 'boot', and of their `info` only 'pid' and 'started'. The pools of a place
            share this look, lest a crowd of them read each other all the time: it is answered
            every `const.TICK`, whoever asks, and what is asked before finds nobody. Nobody
            has a place without telling both.
        """
        raise NotImplementedError

    def take(self, pool: str, limit: int, timeout: float = 0,
             lease: int = const.LEASE) -> list[Delivery]:
        """Lease up to `limit` tasks, waiting for the first.

        Higher priorities first; within one what has arguments before what has none, up to the
        bound that Lanes tells; within a lane in the order in which they were enqueued. Each
        becomes processing, and this its next delivery. Each delivery brings the outcome
        of each of the task's arguments; of tasks that have many, or long bodies, a backend may
        bring fewer than there are at a time.

        To take is not idempotent: after a call whose reply was lost, ``reconcile``.

        :param limit: at least 1.
        :param timeout: seconds to wait for the first one; 0: do not wait. A backend may
            return earlier with nothing.
        :param lease: ms, for tasks that ask for none of their own.
        """
        raise NotImplementedError

    def beat(self, pool: str, held: Iterable[Held] = (),
             lease: int = const.LEASE) -> list[Lost]:
        """Renew the leases of deliveries, note their progress, and keep the pool known.

        :returns: those whose token is not in force: cancelled, or given to another pool. One
            whose life is over and has left nothing counts as cancelled.
        """
        raise NotImplementedError

    def settle(self, pool: str, outcomes: Sequence[Outcome]) -> list[str]:
        """Give outcomes back, see `Outcome`; and see `Moving` for what a gate holds back.

        With the outcome its dependents become enqueued or fail, its waiters are told, and
        its arguments are unpinned: at once as far as the budget reaches, else with the next
        ticks. This works even when the backend can store nothing more. A `TooLarge` leaves
        nobody to blame but one that was told alone: end it by the word 'expire'.

        :returns: for each 'ok'; 'again' if this very delivery was settled by this pool
            before; 'stale' if another delivery, or a cancel, came in between; 'gone' if
            the task is unknown (its result was ignored, or it has been forgotten);
            'aside' if it was 'unknown', and waits for another pool. Sent
            again, 'ok' and 'aside' become 'again', and what ends for good meanwhile is 'gone'.
        """
        raise NotImplementedError

    def turn(self, pool: str, outcomes: Sequence[Outcome] = (),
             held: Iterable[Held] | None = None, limit: int = 0,
             lease: int = const.LEASE) -> Turn:
        """Settle, then beat (unless `held` is None), then take (if `limit`): in one step.

        What is long of a delivery may be left to be fetched, see `Late`: nobody could beat for it
        before this has returned.
        """
        raise NotImplementedError

    def reconcile(self, pool: str, known: Iterable[bytes]) -> int:
        """After a lost reply: release every task of this pool whose token it does not know.

        :returns: how many were released.
        """
        raise NotImplementedError

    def abandon(self, pool: str, cause: str) -> int:
        """Take over from a pool that is proved dead: its deliveries are lost now.

        :param cause: text, how it died.
        :returns: how many were lost.
        """
        raise NotImplementedError

    def bell(self, pool: str) -> Bell:
        """A bell for a select loop; the caller closes it."""
        raise NotImplementedError

    # -- keepers --------------------------------------------------------------

    def ping(self) -> bool:
        """Have the backend read something of the queue, as a health check does.

        :returns: True.
        :raises QueueError: if it does not answer, or not as it should.
        """
        self.stats()
        return True

    def queues(self) -> list[str]:
        """The names of the queues at this address that pools have joined, as far as that is known.

        For people: a backend may know fewer, or none, or some that are gone.
        """
        return []

    def size(self) -> int:
        """How many tasks are not completed: pending, scheduled, enqueued, processing."""
        raise NotImplementedError

    def stats(self) -> dict[str, int]:
        """Sizes and counters, read in one step.

        'pending', 'scheduled', 'enqueued', 'processing': how many there are now.
        'succeeded', 'failed', 'expired', 'cancelled': how many ended so, ever, those that
        ended by a failed argument or a tail call among them; 'redelivered': how many
        times a lease was lost and the task went back; 'stale': outcomes refused.
        """
        raise NotImplementedError

    def audit(self, repair: bool = False) -> list[str]:
        """Check the invariants of the store.

        1. processing if and only if leased; scheduled iff in the schedule; pending iff waiting.
        2. An enqueued task is in a ready list.
        3. A pending task's count of open arguments is that of the live edges to this life
           of it, and above 0; a tail call has its edge at the task it returned.
        4. A completed task that does not ignore its result has its outcome, which expires
           if and only if nothing pins it.
        5. The pins of a task are as many as the argument lists that name it.
        6. With nothing ready, due or leased and no work left over, nothing is pending.
        7. Everything kept for a task has an owner or an end.

        :param repair: set right what is wrong, as it may be where others have written into the
            backend. A task whose record is damaged ends as expired.
        :returns: what is wrong, or was, a line each; empty if all is well. It may be called on
            a busy queue; then what changed meanwhile may be reported, so ask twice.
        """
        raise NotImplementedError

    def delete(self) -> None:
        """Delete the queue, whatever is in it: nothing of it is left, also not who waits at it.

        In steps: it may look damaged meanwhile, and a put makes it anew. Interrupted, do it again.
        """
        raise QueueError('this queue cannot be deleted from here')

    def within(self, seconds: float) -> AbstractContextManager[None]:
        """For a ``with``: inside it, calls of this thread try less long to reach the backend.

        :param seconds: after which none of them tries again, though each tries once, and
            gives the backend a moment to answer.
        """
        return nullcontext()

    def close(self) -> None:
        """Let go of connections. The queue's content stays. May be called twice."""

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
