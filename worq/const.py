"""The words and numbers of WorQ: states, the table of a task's life, bounds, defaults.

``TRANSITIONS`` is the law. Both backends obey it, the documentation prints it and
``test/queue/test_life.py`` walks every (state, verb) pair of it on every backend.
"""
from operator import index
from typing import Any, NamedTuple

__all__ = [
    'MINUTE', 'HOUR', 'DAY', 'DEFAULT', 'PENDING', 'SCHEDULED', 'ENQUEUED',
    'PROCESSING', 'SUCCESS', 'FAILED', 'CANCELLED', 'EXPIRED', 'UNKNOWN', 'STATES', 'LIVE', 'ENDS',
    'COMPLETED', 'STATUS_VALUES', 'TASK_EXPIRED', 'TRANSITIONS',
    'Transition', 'SPAN', 'COUNT', 'WORKERS', 'REACH', 'check_span', 'check_count', 'check_timeout',
]

MINUTE = 60  # seconds
HOUR = MINUTE * 60
DAY = HOUR * 24

#: Name of the queue that is meant when none is given.
DEFAULT = 'default'

# -- the words for how a task stands, wherever that is told: ``Deferred.status``, ``Broker.status``,
#    ``TaskQueue.status``, reprs, explain(), the log ------------------------------------------
PENDING = 'pending'        # some argument is open, or a tail call is under way
SCHEDULED = 'scheduled'    # due later: a delay, or the pause before a redelivery
ENQUEUED = 'enqueued'      # ready: a pool may take it
PROCESSING = 'processing'  # leased to a pool, which runs it, or has it wait behind others
SUCCESS = 'success'        # it has its value
FAILED = 'failed'          # it has a failure: its own, or that of an argument
CANCELLED = 'cancelled'    # somebody did not want it any more, or an argument of it
EXPIRED = 'expired'        # too late to begin, or lost with its workers; or an argument was
UNKNOWN = 'unknown'        # the queue does not know the id, or not any more

STATES = [PENDING, SCHEDULED, ENQUEUED, PROCESSING, SUCCESS, FAILED, CANCELLED, EXPIRED, UNKNOWN]

LIVE = STATES[:4]   #: those that are no end

#: How a task ended, by the kind of its outcome on record.
ENDS = {b'v': SUCCESS, b'f': FAILED, b'c': CANCELLED, b'x': EXPIRED}

# -- the states of a task within a queue, to which all ends are one -----------------
COMPLETED = 'completed'    # has an outcome

STATUS_VALUES = [PENDING, SCHEDULED, ENQUEUED, PROCESSING, COMPLETED]


class TASK_EXPIRED:
    """Kept for programs written for WorQ 1.x, which could compare with it."""


class Transition(NamedTuple):
    """One line of the table: in state `source`, `event` leads to state `target`."""

    source: str
    event: str
    target: str


NEW = '(new)'
FORGOTTEN = 'forgotten'

TRANSITIONS = [Transition(*line) for line in [
    (NEW, 'put, no open argument, due now', ENQUEUED),
    (NEW, 'put, due later', SCHEDULED),
    (NEW, 'put, some argument open', PENDING),
    (NEW, 'put, an argument has failed and on_error is fail', COMPLETED),
    (PENDING, 'its last argument completes', ENQUEUED),
    (PENDING, 'its last argument completes, due later', SCHEDULED),
    (PENDING, 'an argument fails and on_error is fail', COMPLETED),
    (PENDING, 'the Deferred it returned completes', COMPLETED),
    (PENDING, 'the Deferred it returned completes, after many tail calls', ENQUEUED),
    (SCHEDULED, 'its time comes', ENQUEUED),
    (PENDING, 'too late to begin', COMPLETED),
    (SCHEDULED, 'too late to begin', COMPLETED),
    (ENQUEUED, 'too late to begin', COMPLETED),
    (ENQUEUED, 'take', PROCESSING),
    (PROCESSING, 'settle: value or failure', COMPLETED),
    (PROCESSING, 'settle: retry', SCHEDULED),
    (PROCESSING, 'settle: expire (its outcome cannot be stored)', COMPLETED),
    (PROCESSING, 'settle: a Deferred (tail call)', PENDING),
    (PROCESSING, 'settle: release (never started)', ENQUEUED),
    (PROCESSING, 'settle: refuse, and other pools may know it', SCHEDULED),
    (PROCESSING, 'settle: refuse, and no pool knows it', COMPLETED),
    (PROCESSING, 'settle: unknown, and another pool may have it', ENQUEUED),
    (PROCESSING, 'settle: unknown, though its pool has told that name', SCHEDULED),
    (PROCESSING, 'settle: unknown, and it has waited for one in vain', COMPLETED),
    (PROCESSING, 'lease lost, first time', ENQUEUED),
    (PROCESSING, 'lease lost, again', SCHEDULED),
    (PROCESSING, 'lease lost, no delivery left', COMPLETED),
    (PENDING, 'cancel', COMPLETED),
    (SCHEDULED, 'cancel', COMPLETED),
    (ENQUEUED, 'cancel', COMPLETED),
    (PROCESSING, 'cancel', COMPLETED),
    (PENDING, 'withdrawn: it is in another queue', COMPLETED),
    (SCHEDULED, 'withdrawn: it is in another queue', COMPLETED),
    (ENQUEUED, 'withdrawn: it is in another queue', COMPLETED),
    (PENDING, 'settle, behind a gate: it had ended where it came from', COMPLETED),
    (COMPLETED, 'result_timeout over and no dependent left', FORGOTTEN),
    (COMPLETED, 'put with the same id', '(new)'),
    (COMPLETED, 'a failure is revived, no open argument', ENQUEUED),
    (COMPLETED, 'a failure is revived, some argument open', PENDING),
    (COMPLETED, 'a failure is revived, what it returned is live again', PENDING),
]]

# -- flags of a stored task -----------------------------------------------------
IGNORE_RESULT = 1           #: keep no outcome, forget the task when it is done
PASS = 2                    #: a failed argument is a value like any other
GATE = 4                    #: no task: it holds back what is put with it
NEEDED = 8                  #: its outcome goes when nothing needs it any more, if anything did
LENT = 16                   #: the queue's own note with that: it has been an argument

# -- lines of a header, after the task's name ------------------------------------
CHUNK = b'\nchunk'          # each positional argument is the arguments of a call
# signed, as the flag is not: it may get failures as arguments
PASSES = b'\non_error pass'
SKIPS = b'\non_error skip'   # and leaves them out
PAIR = b'\npair'   # a node of `reduce`: of two arguments one that failed is left out

# -- bounds -----------------------------------------------------------------------
# What a call may ask for is checked once, by the two functions below; so whatever is in a queue and
# is more than that has been written by somebody else.
SPAN = 10 * 366 * DAY       #: seconds: any delay, time-out, limit or life; None is for ever
COUNT = 10 ** 9             #: how often something may be done, and how many things there may be
WORKERS = 10_000            #: workers of a pool
PAYLOAD = 1 << 40           #: bytes of a body or an outcome, whatever its limit is
REACH = (SPAN + 366 * DAY) * 1000   #: ms from now: nothing is due later than that


def check_span(name: str, value: Any, above: bool = False) -> int | float:
    """ValueError unless `value` is a number of seconds: from 0, or above it, up to `SPAN`.

    :returns: the number, see `plain_number`.
    """
    number = plain_number(value)
    if number is None or not 0 <= number or above and not number:   # nan is neither
        raise ValueError(f'invalid {name}: {value!r}; it is a number of seconds '
                         + ('above 0' if above else 'from 0'))
    if number > SPAN:
        raise ValueError(f'invalid {name}: {shown(number)}; it is at most {SPAN:,} seconds, '
                         'which are ten years')
    return number


def check_count(name: str, value: Any, least: int = 1, most: int = COUNT) -> int:
    """ValueError unless `value` is a whole number in these bounds; it is returned as an int."""
    number = plain_number(value)
    if not isinstance(number, int) or number < least:
        raise ValueError(f'invalid {name}: {value!r}; it is a whole number from {least}')
    if number > most:
        raise ValueError(f'invalid {name}: {shown(number)}; it is at most {most:,}')
    return number


def check_timeout(value: Any) -> int | float | None:
    """ValueError unless it is None, for ever, or a number of seconds that may be waited."""
    if value is None:
        return None
    number = plain_number(value)
    if number is not None and number < 0:
        raise ValueError('negative timeout not supported')
    return check_span('timeout', value)


def plain_number(value: Any) -> int | float | None:
    """The number as Python's own int or float; None for anything else.

    One of another type may be written otherwise where it becomes text (an enumeration), or count
    otherwise (numpy's int8 has no 1,000). bool is an int, and True seconds is a mistake.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return float.__pos__(value)
    try:
        return index(value)
    except Exception:   # of somebody's own type
        return None


def shown(value: Any) -> str:
    """A number as a text of some length."""
    return repr(value) if value < 1e30 else f'{float("inf") if value > 1e300 else float(value):g}'


# -- numbers --------------------------------------------------------------------
NONCE = 12                  #: characters of a nonce: one life of an id
LEASE = 15_000              #: ms that a pool owns a task before it must beat again
KEEP_FAILED = 'keep_failed'   #: the register of the bounds below, see `TaskQueue.message`
MAX_DELIVERIES = 3          #: then a task that loses its workers fails
RESULT_TIMEOUT = HOUR       #: seconds that a result is kept
PRIORITIES = {'high': 0, 'normal': 1, 'low': 2}

TICK = 1_000                #: ms between two ticks of a queue
POLL = 2_000                #: ms that a pool sleeps at most, if nothing is due and no bell rings
CROWD = 4                   #: pools of a queue beyond which each of them looks less often ...
IDLE = 6_000                #: ... but every so many ms; and pools that are told what is due soon
TICK_LIMIT = 100            #: due tasks, and lost leases, handled by one tick
LEASES_LIMIT = 400          #: leases that one step takes from a pool
BUDGET = 200                #: units of leftover work that one verb does along
LINKS = 16                  #: edges that an outcome on record tells it came along
SEAL = 64                   #: bytes that sign one of them
GAP = 3_000                 #: ms without a tick after which leases get back what it took them,
GRACE = 15_000              #: ... up to this, and nothing is reaped for as long
COOLDOWN = 60_000           #: ms after that in which reaping does not pause again
OVERTAKEN = 32              #: tasks with arguments that one without lets go first, at most
PUT_LIMIT = 1_000           #: tasks in one put, and arguments of one task in one step
EDGE = 3                    #: tasks that an argument counts as, in a put of several
PUT_BYTES = 8 << 20         #: bytes in one put
INLINE = 64 << 10           #: bytes of a body that ``take`` carries through the script
SMALL = 4 << 10             #: bytes of an outcome that travels with its announcement
MAX_PAYLOAD = 32 << 20      #: bytes of a body or an outcome, unless set otherwise
PROGRESS = 1 << 10          #: bytes of a word on progress
MEMO = 16 << 10             #: bytes that a retry leaves for the next delivery
UNKNOWN_GRACE = 5_000       #: ms that a task waits for a pool that knows it, if no live one does
LOOK = 10                   #: open arguments that ``inspect`` names
AHEAD = 10_000              #: places in a ready list that ``inspect`` looks at
DEATHS = 8                  #: deliveries that were lost of which ``inspect`` tells
CAUSE = 300                 #: bytes of how one of them died
CONTENTS = 10               #: ids in one ``message`` ...
CONTENT = 1 << 20           #: ... and bytes of their bodies in all
REVIVALS = 100              #: failures in one ``revive``
ROWS = 200                  #: rows in one page of ``scan`` ...
SCANNED = 100               #: ... and tasks that it looks at for them, about
PATTERNS = 100              #: ... and names that it may ask for
ENDED = 10_000              #: tasks that failed of which a queue knows the order, at least
FAILURES = 10_000           #: failures of a queue that are kept to be run again, the last ...
FAILURES_BYTES = 64 << 20   #: ... and bytes of their headers and bodies
KIN = 16                    #: arguments, and dependents, that a completed task still names
NODES = 300                 #: tasks in one ``family`` ...
FAMILY_EDGES = 1_000        #: ... and edges
NOTES = 20_000              #: registers of a queue at most ...
NOTE = 8 << 10              #: ... bytes that one holds
NOTE_NAME = 200             #: ... bytes of its name
SCHEDULE_NAME = 150         #: ... and of a schedule's, which is a part of that
NOTES_PAGE = 100            #: ... and how many are told in one step
PAUSES = 'pauses'           #: the register that says what is paused
INBOX_TTL = 10 * MINUTE     #: seconds that an inbox outlives its last reader
SILENT = 60_000             #: ms after which a pool that was not heard of counts no more
POOL_TTL = HOUR             #: seconds that a silent pool is remembered
TALLIED = 200               #: names of tasks that are counted by themselves; more are one
TELLS = 15                  #: names in one ``tally``
MINUTES = 480               #: minutes whose counts are kept
RECENT = 1_000              #: tasks that succeeded lately, as pools have told
