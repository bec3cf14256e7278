"""The tables of queues in a file, and their number.

All names begin with ``worq_``, for the file may be an application's. `n` is a life, and never used
again: that of the first queue counts from 1, that of the next from 2 ** 40, and so on. What is
long is in a table of its own, for SQLite writes a whole row anew when one of its numbers changes;
in its place a row has the number of that. Ids are bytes: they compare as on Redis, and may have any
character.
"""
from __future__ import annotations

__all__ = ['SCHEMA', 'REVISION', 'TABLES', 'APPLICATION', 'SPAN', 'FIXED', 'VARIED', 'COLUMNS',
           'FAILED']

SCHEMA = 1       # see "Changing what is stored" in doc/architecture.rst
REVISION = 0
APPLICATION = 0x776f7271   # of `PRAGMA application_id`: a file of ours alone
SPAN = 1 << 40   # lives, and long values, that a queue may have in its time

#: The columns of a task that never change, and those that may.
FIXED = ['n', 'q', 'id', 'nonce', 'header', 'priority', 'lease', 'max_deliveries', 'put']
VARIED = ['flags', 'state', 'gen', 'place', 'ended', 'body', 'due', 'late', 'ttl', 'epoch',
          'deliveries', 'owner', 'deadline', 'taken', 'progress', 'memo', 'open', 'pins', 'nargs',
          'ndeps', 'target', 'gate', 'watched', 'made', 'kind', 'data', 'hops', 'expires', 'ready',
          'over', 'age', 'tries', 'trace']
COLUMNS = FIXED + VARIED
#: Which rows are in the order of those that ended without a value; what was purged is not.
FAILED = "state='completed' AND kind<>x'76' AND late>=0"

TABLES = f"""
CREATE TABLE worq_schema(one INTEGER PRIMARY KEY CHECK (one = 1),
  schema INTEGER NOT NULL, revision INTEGER NOT NULL) -- of the tables
;
CREATE TABLE worq_queue(q INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE,
  meta TEXT NOT NULL) -- counts, and what comes next, as JSON
;
CREATE TABLE worq_task(n INTEGER PRIMARY KEY, q INTEGER NOT NULL,
  id BLOB, -- NULL once it is forgotten, as long as something is left over of it
  nonce TEXT NOT NULL, header BLOB NOT NULL, flags INTEGER NOT NULL, priority INTEGER NOT NULL,
  lease INTEGER NOT NULL, max_deliveries INTEGER NOT NULL, put INTEGER NOT NULL,
  state TEXT NOT NULL,
  gen INTEGER NOT NULL, -- one that has not begun was purged if this is not its queue's
  place INTEGER NOT NULL, ended INTEGER NOT NULL, body BLOB, due INTEGER NOT NULL,
  late INTEGER NOT NULL, ttl INTEGER NOT NULL, epoch INTEGER NOT NULL,
  deliveries INTEGER NOT NULL, owner TEXT, deadline INTEGER NOT NULL, taken INTEGER NOT NULL,
  progress BLOB, memo BLOB, open INTEGER NOT NULL, pins INTEGER NOT NULL,
  nargs INTEGER NOT NULL, ndeps INTEGER NOT NULL, target INTEGER, gate INTEGER,
  watched INTEGER NOT NULL, made INTEGER NOT NULL, kind BLOB, data BLOB, hops BLOB,
  expires INTEGER NOT NULL, ready INTEGER NOT NULL, over INTEGER NOT NULL, age TEXT NOT NULL,
  tries INTEGER NOT NULL,
  trace TEXT) -- what is kept of it for people beside, as JSON; most have none
;
CREATE UNIQUE INDEX worq_id ON worq_task(q, id)
;
CREATE INDEX worq_pending ON worq_task(q, gen) WHERE state = 'pending'
;
CREATE INDEX worq_scheduled ON worq_task(q, gen, due) WHERE state = 'scheduled'
;
CREATE INDEX worq_ready ON worq_task(q, gen, priority, nargs = 0, place)
  WHERE state = 'enqueued'
;
CREATE INDEX worq_leased ON worq_task(q, deadline) WHERE state = 'processing'
;
CREATE INDEX worq_late ON worq_task(q, gen, late) WHERE late > 0
;
CREATE INDEX worq_over ON worq_task(q, expires) WHERE expires > 0
;
CREATE INDEX worq_ended ON worq_task(q, ended) WHERE ended > 0
;
CREATE INDEX worq_failed ON worq_task(q, kind, over) WHERE {FAILED}
;
CREATE TABLE worq_aside(n INTEGER PRIMARY KEY, q INTEGER NOT NULL, lane INTEGER NOT NULL,
  name BLOB NOT NULL, since INTEGER NOT NULL)
;
CREATE INDEX worq_lines ON worq_aside(q, lane, name, since)
;
CREATE TABLE worq_long(k INTEGER PRIMARY KEY, refs INTEGER NOT NULL, data BLOB NOT NULL)
;
CREATE TABLE worq_arg(dep INTEGER, pos INTEGER, arg INTEGER NOT NULL, seal BLOB,
  PRIMARY KEY(dep, pos)) WITHOUT ROWID
;
CREATE TABLE worq_dep(arg INTEGER, seq INTEGER, dep INTEGER NOT NULL, seal BLOB,
  PRIMARY KEY(arg, seq)) WITHOUT ROWID
;
CREATE TABLE worq_watch(n INTEGER, client INTEGER, PRIMARY KEY(n, client)) WITHOUT ROWID
;
CREATE TABLE worq_inbox(client INTEGER PRIMARY KEY, q INTEGER NOT NULL, name TEXT NOT NULL,
  used INTEGER NOT NULL, rung INTEGER NOT NULL, UNIQUE(q, name))
;
CREATE TABLE worq_news(client INTEGER, seq INTEGER, id BLOB NOT NULL, record BLOB,
  PRIMARY KEY(client, seq)) WITHOUT ROWID
;
CREATE TABLE worq_pool(q INTEGER, pool TEXT, info TEXT NOT NULL, seen INTEGER NOT NULL,
  PRIMARY KEY(q, pool))
;
CREATE TABLE worq_minute(q INTEGER, at INTEGER, -- -1: ever
  name BLOB, cell TEXT NOT NULL, -- a hyphen and the name; or nothing, and the sizes
  PRIMARY KEY(q, at, name)) WITHOUT ROWID
;
CREATE TABLE worq_told(q INTEGER, pool TEXT, number INTEGER NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY(q, pool)) WITHOUT ROWID
;
CREATE TABLE worq_recent(q INTEGER, seq INTEGER, at INTEGER NOT NULL, id BLOB NOT NULL,
  nonce TEXT NOT NULL, name BLOB NOT NULL, ended INTEGER NOT NULL, pool TEXT NOT NULL,
  PRIMARY KEY(q, seq)) WITHOUT ROWID
;
CREATE TABLE worq_look(q INTEGER, place TEXT, at INTEGER NOT NULL,
  PRIMARY KEY(q, place)) WITHOUT ROWID
;
CREATE TABLE worq_note(q INTEGER, name BLOB, value BLOB NOT NULL,
  PRIMARY KEY(q, name)) WITHOUT ROWID
;
CREATE TABLE worq_kept(q INTEGER, number INTEGER, -- of a failure
  size INTEGER NOT NULL, n INTEGER NOT NULL, origin INTEGER NOT NULL, -- 0: it is its own
  PRIMARY KEY(q, number)) WITHOUT ROWID
;
CREATE INDEX worq_followers ON worq_kept(q, origin, number) WHERE origin > 0
;
CREATE TABLE worq_again(q INTEGER, number INTEGER, -- all that failed because of this ...
  after INTEGER NOT NULL, -- ... behind this number
  PRIMARY KEY(q, number)) WITHOUT ROWID
;
CREATE TABLE worq_idle(address TEXT PRIMARY KEY, q INTEGER NOT NULL, client INTEGER NOT NULL,
  until INTEGER NOT NULL) WITHOUT ROWID
"""
