"""Schedules: calls at regular times, or once at a date, each of them put once, whoever dies.

**A schedule** has a name, a call (a task with its arguments and options) and a *timing*. The queue
keeps it, in the register ``schedule:NAME``. Its *slots* are the moments that the timing means; a
run of the schedule is the call, put for one slot. Which slot follows on another is a pure function
of the timing (`worq.slots`), so all who ask come to the same.

**A slot is put once.** The register holds the next slot. Who finds that it is due puts the task
and the register, which now holds the slot after that, in one step of the queue, and only if the
register still holds what it did. Any number of pools may try, none is the leader, and none is
needed for the others. Who dies before that step has done nothing, and who dies after it has done
all.

**The clock is the queue's.** A pool asks for it, and counts on from the answer: so it is never
ahead of the queue, whatever the clock of its machine shows. A slot is put within a second of its
moment as long as a pool lives, and never before it.

**Timings.** One of these:

* ``cron='0 3 * * 1-5'``, in the `zone` of an IANA name, UTC by default; five fields, or six of
  which the first are seconds; also ``@daily`` and the like. When clocks change it is as in
  Debian's cron: a job at fixed times runs once a day, of which those in an hour that is skipped
  run right after it, and those in an hour that comes twice the first time. A job whose minute or
  hour begins with ``*`` goes by the time that passes, and so does one with seconds.
* ``every=10``: seconds. The slots are the multiples of it since the epoch: nothing drifts, and
  nobody has to know when it began.
* ``at=datetime``: once. It is forgotten when it has run, unless code declares it.

**Spread.** Schedules with ``spread=300`` do not all run at the same moment, but each slot of them
up to 300 seconds later. How much is a hash of name and slot, the same for all who ask. The slot
itself, by which reports are named, stays.

**Missed.** A slot that could not be put in time (no pool lived, the queue was away, the schedule
was paused) is treated as `missed` says, when that is over:

======== ====================================================================== ==========
missed                                                                          `grace`
======== ====================================================================== ==========
'last'   one run, for the newest slot: the default                              a period,
                                                                                at most 1 h
'all'    a run for each, the oldest first; of more than 1,000 the newest 1,000  none
'none'   none                                                                   a period,
                                                                                at most 60 s
======== ====================================================================== ==========

`grace` is how many seconds after its moment a slot is still worth a run; the table has what holds
if nobody says. For what runs once, 'last' has none: a reminder comes late rather than never. What
had no run counts as missed, and the next run knows of how many, as ``current_task().missed``.

**Overlap.** What becomes of a slot if the run before it is not done yet:

* ``'skip'``, the default: it has no run, and counts as skipped.
* ``'queue'``: it is put all the same. The default with ``missed='all'``, with which nothing else
  but 'cancel' makes sense.
* ``'cancel'``: the run before it is cancelled.

**Declared in code**, where a task is defined: ``@space.task(cron=..., zone=...)``; the name of the
schedule is the task's. A pool that has the task declares it when it starts. What it declared
before, or another did, changes nothing: a deploy never moves or fires a slot. If the code says
something else than it said last, that holds at once; the next slot is then the first of the new
timing from now on, or the one that was due and had no run yet. Where old and new code run side by
side, the pool that started last decides.

**Declared by hand**: ``broker.schedules.set(name, call, every=...)``, and so ``worq cron set``. It
also changes what code has declared, until the code says something new. What was declared by code,
and by no pool that lived in the last hour, is *orphaned*: it is shown as such, and goes on until
it is forgotten. So no run is lost in the gap of a deploy.

**Pause, resume, run now, forget** take effect at once. What is paused is as what nobody can fire:
on resume its slots are missed ones. Run now puts a run beside the slots, whose slot is the moment;
it moves none. What is forgotten, and code declares it, comes back with the next pool that starts:
pause it rather.

**Many schedules** cost an idle pool next to nothing: one look, every five seconds, whether the
number in the register ``schedules`` is another, as it is after each change. A pool knows all
schedules by heart; of one that another pool has fired it learns when it tries the same, and is
refused. Where many are due at a moment it then reads a hundred of them, and goes on with one that
nobody has put. Once in a quarter of an hour it reads all of them again, should somebody have died
between a change and its number.
"""
