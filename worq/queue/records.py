"""What crosses the contract of a task queue, see ``worq.queue.base``: ids, numbers and bytes."""
from __future__ import annotations

import time
from typing import Callable, NamedTuple, Protocol

from worq import const

__all__ = [
    'Argument', 'Message', 'Refusal', 'Delivery', 'Outcome', 'Held', 'Lost', 'Turn', 'Inspection',
    'Times', 'Hop', 'Record', 'Row', 'Node', 'Content', 'Death', 'Bell', 'Late', 'Recent', 'Minute',
    'Totals', 'Revival', 'unpack', 'path', 'VALUE', 'FAILURE', 'EXPIRED', 'CANCELLED', 'KINDS',
    'Note',
]

# kinds of an outcome on record
VALUE, FAILURE, EXPIRED, CANCELLED = b'v', b'f', b'x', b'c'
KINDS = frozenset([VALUE, FAILURE, EXPIRED, CANCELLED])


def now() -> int:
    """The clock of this machine by which its processes tell each other when something was, in µs.
    """
    return time.monotonic_ns() // 1000


class Argument(NamedTuple):
    """A task whose outcome is an argument of another."""

    id: str
    nonce: str           #: the life that is meant; empty: whichever there is
    seal: bytes = b''    #: signs the edge, see `Hop`


class Message(NamedTuple):
    """A task as it is put."""

    id: str
    nonce: str
    header: bytes        #: its first line is the task's name; readable, never secret
    body: bytes
    arguments: tuple[Argument, ...] = ()   #: distinct ids, none of them its own
    flags: int = 0
    priority: int = const.PRIORITIES['normal']
    delay: int = 0                         #: ms until it is due; spans are at most `const.SPAN`
    ttl: int = const.RESULT_TIMEOUT * 1000  #: ms that its outcome is kept once unpinned
    lease: int = 0                         #: ms; 0: as the pool takes it
    max_deliveries: int = const.MAX_DELIVERIES
    expires: int = 0                       #: ms until it is too late to begin; 0: it never is


class Note(NamedTuple):
    """What a put is to do to a register, in the step in which it stores its messages."""

    name: str
    value: bytes         #: that it is to hold
    if_was: bytes        #: that it must hold before; b'': nothing


class Revival(NamedTuple):
    """A failure that is to be run again, see ``revive``."""

    id: str
    nonce: str = ''      #: the life that is meant; empty: whichever there is
    ended: int = 0       #: when it ended, in ms, as its `Times` or a `Row` tell; 0: whenever
    header: bytes = b''  #: with which it is run now; empty: that which it had, and its body
    body: bytes = b''
    priority: int = -1   #: that it has now; -1: that which it had


class Refusal(NamedTuple):
    """Why a message of a put cannot be stored.

    `word` is ``'duplicate'`` (the id is live, or twice in the put), ``'pinned'`` (its
    last life is over, but its outcome is still an argument of something, or its
    dependents have not all been told), or ``'unknown'`` (`argument` does not exist, is of
    another life, or left no outcome).

    Or it is ``'changed'``: the register `id` does not hold what it must, but `held`.
    """

    id: str
    word: str
    argument: str = ''
    held: bytes = b''


class Delivery(NamedTuple):
    """A task as a pool gets it."""

    id: str
    token: bytes
    number: int          #: the how-manieth delivery this is, from 1
    header: bytes
    body: bytes
    arguments: tuple[tuple[str, bytes], ...] = ()  #: id and outcome on record
    memo: bytes = b''    #: what the last retry left for this delivery
    waited: int = 0      #: ms from when it became ready until it was taken


class Outcome(NamedTuple):
    """What came of a delivery.

    ======== ======================================= ==================================
    word     data                                    leads to
    ======== ======================================= ==================================
    value    envelope                                completed
    failure  envelope of a failure                   completed
    retry    a memo, `delay` in ms                   scheduled; deliveries count anew, and
                                                     each brings the memo until the next retry
    delegate a seal, `target`                        pending, then what that one comes to
    release  (none)                                  enqueued at the front, not counted
    refuse   envelope of a failure                   scheduled 1 s later for another pool, or
                                                     that failure if there is no other pool
                                                     alive or no delivery left
    unknown  envelope of a failure: no such task     enqueued, aside, not counted: see Names; that
                                                     failure if it had waited in vain; scheduled
                                                     1 s later if this very pool has told its name
    lost     text: how the worker died               as if the lease had run out: enqueued at
                                                     the front, later times scheduled, at
                                                     last completed as expired
    expire   text: why it has no outcome             completed as expired, whatever deliveries
                                                     are left: it would come to the same again
    ======== ======================================= ==================================
    """

    id: str
    token: bytes
    word: str
    data: bytes = b''
    delay: int = 0
    target: Argument | None = None
    begun: int = 0       #: when its code was begun, in µs, by `now` in here; 0: not known
    ended: int = 0       #: ... and when it had ended
    peak: int = 0        #: KiB of memory that its worker has had until then, at most; 0: not known
    skipped: int = 0     #: how many failed arguments were left out of its lists

    def at(self, begun: int, ended: int) -> Outcome:
        """The same, with these moments: `_replace`, in a quarter of its time."""
        return Outcome._make((*self[:6], begun, ended, *self[8:]))

    def age(self, moment: int) -> str:
        """As it is stored: how many ms ago it was begun, and had ended, the peak, the skipped.

        :param moment: `now`, once for many of them.
        """
        _, _, _, _, _, _, begun, ended, peak, skipped = self
        if not ended:
            return ''
        told = f'{(moment - begun) // 1000} {(moment - ended) // 1000} {peak}'
        return f'{told} {skipped}' if skipped else told


class Held(NamedTuple):
    """A delivery that a pool has, as it tells with a beat."""

    id: str
    token: bytes
    progress: bytes = b''   #: text for people; empty: nothing new. At most `const.PROGRESS`


class Lost(NamedTuple):
    """A delivery that is not the pool's any more: stop its worker or drop its outcome."""

    id: str
    token: bytes
    word: str            #: 'cancelled': nobody wants its outcome; 'lost': another delivery counts


class Late(NamedTuple):
    """A delivery whose body or arguments are long: they take time to come, and are not here yet."""

    id: str
    token: bytes
    header: bytes
    #: Waits for the rest. None if it is gone: then it has been cancelled, or is another pool's.
    fetch: Callable[[], Delivery | None]
    waited: int = 0      #: as in `Delivery`


class Turn(NamedTuple):
    """The answer of a turn: a word for each outcome, what was lost, what was taken."""

    settled: list[str]
    lost: list[Lost]
    deliveries: list[Delivery]
    late: list[Late] = []   #: taken too; to be fetched while somebody beats for them


class Recent(NamedTuple):
    """A task that has succeeded, as a pool tells with its counts."""

    id: str
    nonce: str
    name: str
    ended: int           #: when; a pool tells how many ms ago
    pool: str = ''


class Minute(NamedTuple):
    """What pools have told in one minute."""

    at: int                  #: when it began, in ms since the epoch by the queue's clock
    cells: dict[str, str]    #: by the name of a task, see `worq.tally`
    #: How many tasks were pending, scheduled, enqueued and processing when it was told last.
    sizes: tuple[int, int, int, int] = (0, 0, 0, 0)


class Totals(NamedTuple):
    """How a queue stands, and what has been counted ever, read in one step."""

    now: int                     #: ms since the epoch by the queue's clock
    stats: dict[str, int]        #: as ``stats`` answers
    oldest: list[int | None]     #: as ``oldest`` does
    cells: dict[str, str]        #: by the name of a task, see `worq.tally`


class Times(NamedTuple):
    """When what became of a task: moments, in ms since the epoch by the queue's clock; 0: not yet,
    or not known."""

    put: int = 0
    ready: int = 0       #: when it became enqueued last
    taken: int = 0       #: when a pool took it last
    begun: int = 0       #: when that began its code, as the outcome told that ended it
    ended: int = 0       #: when it had ended, as that told, or else when the queue ended it
    attempt: int = 0     #: which attempt this is, or was the last, from 1
    peak: int = 0        #: bytes of memory that its worker has had until its end, at most
    skipped: int = 0     #: failed arguments that were left out of its lists, as that told


class Death(NamedTuple):
    """A delivery that was lost."""

    moment: int          #: when the queue knew of it, in ms since the epoch by its clock
    pool: str            #: which had it
    text: str            #: how it died, the first `const.CAUSE` bytes
    progress: bytes = b''   #: the last that was told of it


class Inspection(NamedTuple):
    """What there is to know of a task, for people. What does not apply is 0, empty or None.

    Of one that is completed its state, nonce, times and deaths, the first line of its header, and
    the pool that settled it.
    """

    state: str               #: as ``status`` answers it
    header: bytes = b''
    due: int | None = None   #: ms until it is due, if that is later
    expires: int | None = None              #: ms until it is too late to begin
    open: int = 0                           #: how many of its arguments are open ...
    arguments: tuple[str, ...] = ()         #: ... and the ids of up to `const.LOOK` of them
    target: str = ''         #: the id of the task that it waits for after a tail call
    ahead: int | None = None  #: about how many tasks are taken before it; None: too many to tell
    pool: str = ''           #: which has it
    taken: int | None = None                #: ms since that pool took it
    deliveries: int = 0      #: as in `Delivery.number`
    progress: bytes = b''    #: the last that was told of this delivery
    memo: bytes = b''        #: as in `Delivery.memo`
    gate: str = ''           #: the id of the gate that holds it back
    nonce: str = ''          #: the life that this is; told in each state
    lost: str = ''           #: why it is not where its state says, if somebody has deleted keys
    ignored: bool = False    #: whether nothing will be kept of it, for its result is ignored
    times: Times = Times()
    aside: int | None = None  #: ms for which it has stood aside, for a pool that knows its name
    grace: int | None = None  #: ms until anybody gets it, since no live pool knows that
    deaths: tuple[Death, ...] = ()   #: the last deliveries that were lost, the latest last


class Content(NamedTuple):
    """What a task was put with, see ``message``."""

    nonce: str
    header: bytes
    body: bytes          #: that of it which was asked for; the first of it, if it is long
    size: int            #: bytes of all of it
    arguments: tuple[str, ...]   #: the ids of up to `const.PUT_LIMIT` of its arguments
    flags: int = 0       #: these as in `Message`
    priority: int = const.PRIORITIES['normal']
    ttl: int = const.RESULT_TIMEOUT * 1000
    lease: int = 0
    max_deliveries: int = const.MAX_DELIVERIES
    #: What signs its edges from these arguments, one each, where that is done; not of what has
    #: failed, or has made a tail call ...
    seals: tuple[bytes, ...] = ()
    tail: bytes = b''    #: ... which this signs


class Row(NamedTuple):
    """A task in a list of those that are in a state, see ``scan``; moments are ms since the epoch.
    """

    id: str
    nonce: str
    name: str            #: of the task: the first line of its header
    state: str           #: as ``status`` answers it
    #: 'enqueued': when it became ready; 'processing': when it was taken; when it ended, if it has;
    #: else when it was last taken, or put if it never was
    since: int
    due: int = 0         #: when it is due, if that is later
    pool: str = ''       #: which has it, or settled it
    attempt: int = 1     #: which attempt this is, or was the last


class Node(NamedTuple):
    """A task in a graph, see ``family``. Edges are told by ids; `width` and `fan` count them, those
    that are not told as well, and of `fan` perhaps some that wait no more."""

    id: str
    nonce: str
    name: str
    state: str
    level: int           #: from the task that was asked for: below 0 above it, above 0 below it
    width: int = 0       #: how many arguments it has, or had
    arguments: tuple[str, ...] = ()    #: the first of them
    #: what it waits for after a tail call, or did when it ended, unless a purge has cancelled it
    target: str = ''
    fan: int = 0         #: how many wait for it, or did when it ended
    dependents: tuple[str, ...] = ()   #: the first of them
    gate: str = ''       #: what holds it back
    progress: bytes = b''
    since: int = 0       #: as in a `Row`
    pool: str = ''


class Hop(NamedTuple):
    """An edge along which an outcome came to a task: from the life `nonce` of the task `id`.

    `seal` is what was given with the edge by whoever may sign for the task that it leads to, as
    many as `const.SEAL` bytes: with a tail call the worker, with an argument the one who put
    the task. Where nothing is signed it is empty.
    """

    id: str
    nonce: str
    seal: bytes


class Record(NamedTuple):
    """An outcome on record, unpacked. `origin` is where it comes from: (id, nonce)."""

    nonce: str
    kind: bytes          #: lower case
    data: bytes
    origin: tuple[str, str] | None


class Bell(Protocol):
    """Tells a select loop that there may be something to take.

    A bell rings too often rather than not at all: it may ring for a task that another
    pool gets, and it rings by itself within two seconds, so that a lost wake-up is short.
    """

    #: Whether it rings as well for what came after the last ``take`` that found nothing, and before
    #: it was armed. Otherwise look once more when it is armed.
    keeps: bool
    #: To be set by whoever arms it after each turn that takes less than it asked for: then that
    #: very turn may do for it what that takes.
    prompt: bool

    def fileno(self) -> int:
        """The descriptor to select for reading. May differ after each ``arm``."""

    def arm(self) -> None:
        """Begin to listen; does nothing while it listens already."""

    def clear(self) -> bool:
        """Take what made the descriptor readable. After it, ``arm`` anew and ``take``.

        :returns: whether it rang for something. If it did not, it may be armed before it is
            looked for anything: no ring is taken from others.
        """

    def due(self) -> bool:
        """Whether there may be something to take though it did not ring for it: else arm it again,
        and that is all."""

    def close(self) -> None:
        """Stop listening. May be called twice."""


def unpack(raw: bytes) -> Record:
    """Read an outcome on record; ValueError if it is none."""
    head = const.NONCE
    nonce, kind = raw[:head], raw[head:head + 1]
    if kind in KINDS:
        return Record(nonce.decode('ascii'), kind, raw[head + 1:], None)
    if kind.lower() not in KINDS:
        raise ValueError('not an outcome on record')
    hops, at = _hops(raw)
    return Record(nonce.decode('ascii'), kind.lower(), raw[at:], (hops[-1].id, hops[-1].nonce))


def path(raw: bytes) -> list[Hop]:
    """The edges that an outcome on record came along; ValueError if it is none."""
    return [] if raw[const.NONCE:const.NONCE + 1] in KINDS else _hops(raw)[0]


def _hops(raw: bytes) -> tuple[list[Hop], int]:
    """The hops, and where the data begins, which may be long."""
    hops = []
    at = const.NONCE + 1
    if b':' not in raw[at:at + const.NONCE]:   # the origin alone
        size, start = _number(raw, at + const.NONCE)
        end = start + size
        if end > len(raw):
            raise ValueError('not an outcome on record')
        return [Hop(raw[start:end].decode(), raw[at:at + const.NONCE].decode('ascii'), b'')], end
    count, at = _number(raw, at)
    for _ in range(count if count <= const.LINKS else 0):
        nonce = raw[at:at + const.NONCE]
        size, at = _number(raw, at + const.NONCE)
        id = raw[at:at + size]
        length, at = _number(raw, at + size)
        hops.append(Hop(id.decode(), nonce.decode('ascii'), raw[at:at + length]))
        at += length
    if not hops or at > len(raw):
        raise ValueError('not an outcome on record')
    return hops, at


def _number(raw: bytes, at: int) -> tuple[int, int]:
    """A decimal number before a colon, and where that ends."""
    end = raw.find(b':', at, at + 9)
    if not raw[at:end].isdigit():
        raise ValueError('not an outcome on record')
    return int(raw[at:end]), end + 1
