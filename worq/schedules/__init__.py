"""Schedules: calls at regular times, or once at a date, each of them put once, whoever dies.

**A schedule** has a name, a call (a task with its arguments and options) and a *timing*. The queue
keeps it, in the register ``schedule:NAME``. Its *slots* are the moments that the timing means; a
run of the schedule is the call, put for one slot. The next slot is a pure function of the timing
and the slot before (`worq.slots`), so all pools compute the same.

**A slot is put once.** The register holds the next slot. A pool that finds it due puts the task,
and the slot after that into the register, in one step of the queue, and only if the register has
not changed. Any number of pools may try, and there is no leader. A pool that dies before that step
has done nothing, and one that dies after it has done everything.

**The clock is that of the queue,** whatever the clock of a pool's machine shows. As long as a pool
lives, a slot is put within a second after its moment, and never before.

**Timings.** One of these:

* ``cron='0 3 * * 1-5'``, in the `zone` of an IANA name, UTC by default; five fields, or six of
  which the first are seconds; also ``@daily`` and the like. When clocks change it is as in Debian's
  cron: a job at a fixed time runs once a day. If its hour is skipped, it runs right after that; if
  its hour comes twice, it runs the first time. A job whose minute or hour begins with ``*`` goes by
  the time that passes, and so does one with seconds.
* ``every=10``: seconds. The slots are the multiples of it since the epoch, so nothing drifts.
* ``at=datetime``: once. It is forgotten when it has run, unless code declares it.

**Spread.** With ``spread=300`` each run is up to 300 seconds late, so that not all schedules run at
the same moment. How late is a hash of name and slot. The slot itself stays.

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

`grace` is how many seconds after its moment a slot is still worth a run; the table has the
defaults. For what runs once, 'last' has no bound: a reminder comes late rather than never. Slots
without a run count as missed; the next run has their number as ``current_task().missed``.

**Overlap.** What becomes of a slot if the run before it is not done yet:

* ``'skip'``, the default: it has no run, and counts as skipped.
* ``'queue'``: it is put all the same. The default with ``missed='all'``, with which nothing else
  but 'cancel' makes sense.
* ``'cancel'``: the run before it is cancelled.

**Declared in code**, where a task is defined: ``@space.task(cron=..., zone=...)``; the name of the
schedule is that of the task. A pool that has the task declares it when it starts. To declare the
same again changes nothing: a deploy never moves or fires a slot. If the code says something else
than before, that holds at once; the next slot is the first of the new timing from now on, or the
one that was due and had no run yet. If old and new code run side by side, the pool that started
last decides.

**Declared by hand**: ``broker.schedules.set(name, call, every=...)``, or ``worq cron set``. This
also changes a schedule that code has declared, until the code says something new. A schedule from
code that no pool has declared in the last hour is *orphaned*: it is shown as such, and goes on
until somebody forgets it. So no run is lost between two deploys.

**Pause, resume, run now, forget** take effect at once. Slots that come while it is paused are
missed. Run now puts a run beside the slots and moves none; its slot is that moment. If code
declares a schedule that was forgotten, it comes back with the next pool that starts: pause it
instead.

**If all is lost**, as by a Redis that keeps nothing on disk, live pools declare again what their
code says. Schedules that were set by hand are gone.

**Many schedules** cost an idle pool next to nothing. Every five seconds it looks whether the number
in the register ``schedules`` has changed, as it does with each change. It keeps all schedules in
memory. When another pool has fired one, it learns of that when it tries the same and is refused. If
many are due at a moment, it then reads a hundred of them and goes on with one that nobody has put.
Every quarter of an hour it reads all of them again, in case a pool died between a change and its
number.
"""
