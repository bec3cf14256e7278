"""The queue on Redis 6.2 or newer, and on Valkey.

Each verb is one script, see ``lua/``; a task is one small hash, and all else are indexes of
ids. What is long goes past Lua: scripts answer where it is, and it is fetched by itself.

Verbs that may be sent twice are sent again, for up to `retry_for` seconds, while Redis is
out of reach. ``take`` and ``turn`` are not: whoever calls them has to ``reconcile`` first.
"""
from __future__ import annotations

import random
import time
import weakref
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import Any, Callable, Iterable, Mapping, Sequence

from redis import exceptions as errors
from redis.connection import AbstractConnection

from worq import const
from worq.errors import QueueError, TooLarge, Unfinished
from worq.ids import new_nonce
from worq.printable import logger
from worq.queue.base import (
    Argument, Delivery, Held, Late, Lost, Message, Note, Outcome, Refusal, Revival, Turn,
)
from worq.queue.redis.counting import Counting
from worq.queue.redis.deletion import delete
from worq.queue.validation import (
    check_edges, check_held, check_limit, check_messages, check_note, check_page, check_revivals,
    check_wait, check_withdrawn,
)
from worq.queue.redis.connect import Unreplicated, is_damage, sender
from worq.queue.redis.encoding import (
    HEAVY, News, affordable, all_words, flat_arguments, flat_messages,
    flat_outcomes, is_heavy, losses, news, refusals, text,
)
from worq.queue.redis.listen import Bell, blocking, drain
from worq.queue.redis.reading import LOOKS, Readers
from worq.queue.redis.sharing import link, of_this_process, scripts
from worq.queue.redis.repair import Repairer, audit, is_newer, repaired
from worq.queue.redis.chunks import Chunks
from worq.queue.redis.acl import is_vague
from worq.queue.registers import too_many

__all__ = ['TaskQueue', 'Bell']

QUEUES = 'worq:queues'   # a set of the names of queues that pools have joined, as far as possible
NAMED = 1000        # of them that are told of
CHUNK = 1000        # of what is read or told, in one call
ENDS = 150          # ids in one cancel, each of which has dependents to be told
MENDING = 3000      # ms in which a second process does not begin to repair
LOOK = 500          # tasks that one ``verify`` begins with; one step of it looks at no more
PATROL = 5000       # ms between two steps of a walk through all keys of a queue
STRIDE = 500        # keys in such a step
WAIT = 100          # ms that replicas have at a time to confirm; it is tried again
LINE = b'\n'        # ends the name of a task in its header
PATIENCE = 1.0      # seconds that a take without a time-out goes on while a script has more

log = logger(__name__)


class TaskQueue(Counting, Readers):
    """A queue on a Redis server.

    :param url: ``redis://``, ``rediss://``, ``unix://``, ``redis+sentinel://`` or
        ``redis+cluster://``, see `worq.queue.redis.address.parse`.
    :param name: which of its queues this is.
    :param retry_for: seconds for which a verb is sent again while Redis is out of reach.
    :param strict: refuse a Redis that may evict tasks or keeps nothing on disk, rather than
        warn of it.
    :param durable: how many replicas must have what a program puts or cancels, before it is
        told that it is done; `QueueError` if they do not in time. By default that of the
        URL, else 0. Outcomes need none: one that a failover undoes is made again.
    :param clock_key: for tests: the time is what the key `clock` says, in ms.
    :raises ValueError: if there is a mistake in the URL. Nothing is connected yet.
    """

    handful = 64        # no more, for Redis serves nobody else during a turn
    heavy = HEAVY

    def __init__(self, url: str, name: str = const.DEFAULT, *, retry_for: float = 5,
                 strict: bool = False, durable: int | None = None,
                 clock_key: bool = False) -> None:
        super().__init__(url, name)
        retry_for = const.check_span('retry_for', retry_for)
        self.options = {'retry_for': retry_for, 'strict': strict, 'durable': durable,
                        'clock_key': clock_key}
        self.prefix = f'worq:{{{name}}}:'
        self._key = f'{self.prefix}m'
        self._link = link(url, self._key, retry_for, strict)
        database = self._link.address.options.get('db', 0)
        self.place = f' {database}' if database else ''
        self._durable = const.check_count(
            'durable', self._link.address.durable if durable is None else durable, 0)
        self._scripts = scripts(clock_key)
        self._pieces = Chunks(self._link, partial(self._guarded, again=True))
        self._bells: weakref.WeakValueDictionary[str, Bell] = weakref.WeakValueDictionary()
        self._patrol_at = time.monotonic() + PATROL / 1000
        self._repairer = Repairer(partial(self.audit, repair=True), self._claim)
        of_this_process.add(self)

    @classmethod
    def open(cls, url: str, name: str = const.DEFAULT, **options: Any) -> TaskQueue:
        """A queue for this URL and name; `options` are those of the class."""
        unknown = options.keys() - {'retry_for', 'strict', 'durable', 'clock_key'}
        if unknown:
            raise TypeError(f'a queue on Redis has no option {min(unknown)!r}; '
                            'there are retry_for, strict, durable')
        return cls(url, name, **options)

    # -- producers ------------------------------------------------------------

    def put(self, messages: Sequence[Message], gate: str = '', client: str = '',
            note: Note | None = None) -> list[Refusal]:
        check_messages(messages, gate, note)
        argv = flat_messages(messages)
        try:
            if note is not None:
                return self._put_noted(messages, client, note, argv)
            return refusals(self._run('put', gate, client, *argv, durable=True) if argv else [])
        except TooLarge as error:
            longest = max(messages, key=lambda one: len(one.body))
            raise TooLarge(
                f'the arguments of {text(longest.header.partition(LINE)[0])} '
                f'[{self.name}:{longest.id}], {len(longest.body):,} bytes, cannot be put: {error}',
                len(longest.body), error.limit) from error

    def _put_noted(self, messages: Sequence[Message], client: str, note: Note,
                   argv: list[Any]) -> list[Refusal]:
        found = refusals(self._run('put_noted', '', client, *note, *argv, durable=True))
        if found and found[0].word == 'full':
            raise too_many()
        if found and found[0].word == 'changed' and found[0].held == note.value:
            # Sent again, perhaps: then it was this very put that has changed it.
            lives = self.inspect([message.id for message in messages])
            if all(life is not None and life.nonce == message.nonce
                   for life, message in zip(lives, messages)):
                return []
        return found

    def begin_put(self, messages: Sequence[Message]) -> Callable[[], list[Refusal]]:
        check_messages(messages, '')
        answer = None
        if messages and not self._durable:
            answer = self._link.post('EVALSHA', self._scripts['put'].sha, '1', self._key, '', '',
                                     *flat_messages(messages))
        if answer is None:
            return super().begin_put(messages)

        def end() -> list[Refusal]:
            begin = time.monotonic()
            try:
                return refusals(answer())
            except errors.RedisError:   # `put` will see what it means, and may be sent again
                with self.within(self._link.retry_for - (time.monotonic() - begin)):
                    return self.put(messages)
        return end

    def edges(self, gate: str, id: str, nonce: str, start: int,
              arguments: Sequence[Argument]) -> list[Refusal]:
        check_edges(id, start, arguments)
        return refusals(self._run('edges', gate, id, nonce, start, *flat_arguments(arguments),
                                  durable=True))

    def cancel(self, ids: Sequence[str], client: str | None = None) -> list[str]:
        # Who may need them is looked for, of each among a thousand others at most.
        spare, size = ('', ENDS) if client is None else (f':{client}', LOOKS)
        return [word.decode()
                for word in self._chunked('cancel', ids, spare, '', durable=True, size=size)]

    def withdraw(self, ids: Sequence[str], reason: str) -> list[str]:
        check_withdrawn(reason)
        return [word.decode()
                for word in self._chunked('cancel', ids, '', reason, durable=True, size=LOOKS)]

    def purge(self) -> int:
        return int(self._run('purge', durable=True))

    def revive(self, failures: Sequence[Revival], downstream: bool = False) -> list[str]:
        check_revivals(failures)
        words: list[str] = []
        while len(words) < len(failures):
            flat = [part for one in failures[len(words):] for part in one]
            words += map(text, self._run('revive', '1' if downstream else '', *flat, durable=True))
        return words

    # -- readers ------------------------------------------------------------

    def verify(self, ids: Sequence[str]) -> None:
        if len(ids) > LOOK:   # any of them finds a list that is gone, and all have their turn
            ids = random.sample(ids, LOOK)
        self._astray(self._run('verify', *ids))

    def results(self, ids: Sequence[str], whole: bool = True) -> list[bytes | None]:
        found: list[bytes | None] = self._chunked('results', ids)
        long = [i for i, record in enumerate(found) if record == b'']
        for i in long:   # one at a time: together they may be more than memory holds
            try:
                found[i] = self._record(ids[i], whole)
            except Unfinished:
                for j in long[:long.index(i)]:
                    self._pieces.keep(f'{self.prefix}r:{ids[j]}', found[j] or b'')
                raise
        return found

    def _record(self, id: str, whole: bool = True) -> bytes | None:
        key = f'{self.prefix}r:{id}'
        return self._pieces.read(key, ('GETRANGE', key, 0, const.NONCE - 1), whole=whole)

    def watch(self, client: str, ids: Sequence[str]) -> News:
        flat = self._chunked('watch', ids, client)
        return [(id.decode(), record) for id, record in zip(flat[::2], flat[1::2])]

    def wait(self, client: str, timeout: float) -> News:
        check_wait(timeout)
        key = f'{self.prefix}in:{client}'
        limit = time.monotonic() + timeout
        while True:
            # Not again after an error: the inbox may be lost, and so its owner must hear of it.
            entries = self._guarded(partial(drain, key, limit - time.monotonic()), again=False)
            if entries or time.monotonic() >= limit:
                return [item for entry in entries for item in news(entry)]

    def ring(self, client: str) -> None:
        self._run('ring', client)

    def forget(self, ids: Sequence[str]) -> list[str]:
        return [word.decode() for word in self._chunked('forget', ids)]

    # -- registers ------------------------------------------------------------

    def note(self, name: str, value: bytes, if_was: bytes | None = None) -> bytes:
        check_note(name, value, if_was)
        held: bytes | None = self._run('note', name, value, *([] if if_was is None else [if_was]),
                                       durable=True)
        if held is None:
            raise too_many()
        return held

    def notes(self, prefix: str = '', after: str = '', limit: int = 100,
              ) -> list[tuple[str, bytes]]:
        check_page(prefix, after, limit)
        lowest = f'[{prefix}' if after < prefix else f'({after}' if after else '-'
        flat = self._run('notes', lowest, b'(%b\xff' % prefix.encode(), limit)
        return [(text(name), value) for name, value in zip(flat[::2], flat[1::2])]

    # -- pools ----------------------------------------------------------------

    def join(self, pool: str, info: Mapping[str, str]) -> None:
        self._run('join', pool, *(part for item in info.items() for part in item))
        with suppress(Exception):   # another node of a cluster has it, or this user may not
            self._link.call('SADD', QUEUES, self.name)

    def tell(self, pool: str, info: Mapping[str, str]) -> bool:
        return bool(self._run('tell', pool, *(part for item in info.items() for part in item)))

    def leave(self, pool: str) -> None:
        self._run('leave', pool)

    def pools(self, beside: str = '') -> dict[str, dict[str, str]]:
        found = {}
        for pool, seen, flat in self._run('pools', beside):
            fields = [text(part) for part in flat]
            info = dict(zip(fields[::2], fields[1::2]))
            found[text(pool)] = {**info, 'seen': str(seen)}
        return found

    def take(self, pool: str, limit: int, timeout: float = 0,
             lease: int = const.LEASE) -> list[Delivery]:
        check_limit(limit, timeout, lease)
        until = time.monotonic() + timeout
        while True:
            found, pause = self._run('take', pool, str(limit), str(lease), again=False)
            deliveries, _ = self._deliveries(found, whole=True)
            left = until - time.monotonic()
            if deliveries or left <= (0 if pause else -PATIENCE):
                return deliveries
            if pause:
                self._command('BLPOP', *self._bell_keys(pool), blocking(min(left, pause / 1000)))

    def beat(self, pool: str, held: Iterable[Held] = (),
             lease: int = const.LEASE) -> list[Lost]:
        deliveries = check_held(held, lease)
        gone: list[Lost] = []
        for start in range(0, len(deliveries) or 1, CHUNK):
            flat = [part for one in deliveries[start:start + CHUNK] for part in one]
            gone += losses(self._run('beat', pool, str(lease), *flat))
        return gone

    def settle(self, pool: str, outcomes: Sequence[Outcome]) -> list[str]:
        words: list[str] = []
        for group in affordable(outcomes):
            words += all_words(len(group), self._run('settle', pool, *flat_outcomes(group)))
        return words

    def turn(self, pool: str, outcomes: Sequence[Outcome] = (),
             held: Iterable[Held] | None = None, limit: int = 0,
             lease: int = const.LEASE) -> Turn:
        *before, last = affordable(outcomes) or [[]]
        settled = [word for group in before for word in self.settle(pool, group)]
        argv = flat_outcomes(last)
        if held is not None:
            argv += [part for one in check_held(held, lease) for part in one] or ['']
        words, gone, found, *pause = self._run(
            'turn', pool, str(lease), str(limit), str(len(last)), *argv, again=not limit)
        bell = self._bells.get(pool)
        if limit and time.monotonic() >= self._patrol_at:
            self._patrol()
        if bell is not None and limit:
            if found:   # then it was not looked for, and an earlier answer holds no more
                bell.forget()
            else:
                bell.expect(pause[0] / 1000 if pause else None)
        settled += all_words(len(last), words)
        return Turn(settled, losses(gone), *self._deliveries(found))

    def reconcile(self, pool: str, known: Iterable[bytes]) -> int:
        return self._stepped('reconcile', pool, *known)

    def abandon(self, pool: str, cause: str) -> int:
        return self._stepped('abandon', pool, cause)

    def bell(self, pool: str) -> Bell:
        bell = self._bells[pool] = Bell(self._link, *self._bell_keys(pool))
        of_this_process.add(bell)
        return bell

    def _bell_keys(self, pool: str) -> tuple[str, str]:
        """Where it is woken: by what only some know, and by all else."""
        return f'{self.prefix}bell:{pool}', f'{self.prefix}wake'

    # -- keepers --------------------------------------------------------------

    def queues(self) -> list[str]:
        try:
            names = sorted(text(name) for name in self._link.call('SMEMBERS', QUEUES))
            # only put and join write it, so it tells of a queue that was deleted, or moved
            known = self._link.calls([['EXISTS', f'worq:{{{name}}}:m'] for name in names[:NAMED]])
        except Exception:
            return []
        return [name for name, there in zip(names, known) if there == 1]

    def size(self) -> int:
        stats = self.stats()
        return stats['pending'] + stats['scheduled'] + stats['enqueued'] + stats['processing']

    def stats(self) -> dict[str, int]:
        flat = self._run('stats')
        return {name.decode(): number for name, number in zip(flat[::2], flat[1::2])}

    def oldest(self) -> list[int | None]:
        return [None if age < 0 else age for age in self._run('oldest')]

    def delete(self) -> None:
        delete(self._link.calls, self.prefix)
        with suppress(Exception):   # as it was entered
            self._link.call('SREM', QUEUES, self.name)

    def audit(self, repair: bool = False) -> list[str]:
        newer = is_newer(partial(self._link.run, lambda connection: self._scripts['repair'](
            sender(connection), self._key)))
        if not repair:
            return audit(self._link.calls, self.prefix, newer)
        return repaired(partial(self._run, 'repair'), self._link.calls, self.prefix, newer)

    def within(self, seconds: float) -> AbstractContextManager[None]:
        return self._link.within(seconds)

    def forked(self) -> None:
        """This is the child of a fork."""
        self._link.forked()

    def close(self) -> None:
        self._repairer.close()
        self._link.close()

    # -- inside ---------------------------------------------------------------

    def _run(self, verb: str, *argv: Any, again: bool = True, durable: bool = False) -> Any:
        verb_script = self._scripts[verb]
        replicas = self._durable if durable else 0

        def work(connection: AbstractConnection) -> Any:
            send = sender(connection)
            answer = verb_script(send, self._key, *argv)
            # Also for what had been done by an earlier try: replicas must have all until now.
            if replicas and (having := send('WAIT', replicas, WAIT)) < replicas:
                raise Unreplicated(f'done, but {having} of {replicas} replicas have it. If the '
                                   'master dies now, it may be undone')
            return answer
        return self._guarded(work, again)

    def _command(self, *command: Any, again: bool = True) -> Any:
        return self._guarded(lambda connection: sender(connection)(*command), again)

    def _guarded(self, work: Callable[[AbstractConnection], Any], again: bool) -> Any:
        try:
            return self._link.run(work, again)
        except QueueError as error:
            if is_damage(error):
                self._repairer.alarm()
            if error.denied and is_vague(text := str(error.__cause__)):
                raise self._link.denied(text, self._denied()) from error.__cause__
            raise

    def _denied(self) -> list[str]:
        """The commands that scripts use, and this user may not."""
        try:
            found = self._link.run(lambda connection: self._scripts['rights'](
                sender(connection), self._key))
        except QueueError:   # not even that
            return []
        return [name.decode() for name in found]

    def _patrol(self) -> None:
        """A step through the keys, for what no script fails on; what it finds is repaired."""
        self._patrol_at = time.monotonic() + PATROL / 1000
        try:
            due, *found = self._run('patrol', PATROL, STRIDE, again=False)
        except QueueError as error:   # who needs the queue will hear of it
            log.debug('could not look through the keys: %s', error)
            return
        self._patrol_at = time.monotonic() + due / 1000
        self._astray(found)

    def _astray(self, found: list[bytes]) -> None:
        if not found:
            return
        names = ', '.join(f'{text(name)!r}: {text(what)}'
                          for name, what in zip(found[:6:2], found[1:6:2]))
        log.warning('%s%d tasks or keys are not as they should be, and are repaired now: %s',
                    self.prefix, len(found) // 2, names)
        self._repairer.alarm()

    def _claim(self) -> str:
        """'' if this process is to repair, one at a time; else the name of who does, or did."""
        key, name = f'{self.prefix}mending', new_nonce()
        if self._link.call('SET', key, name, 'NX', 'PX', MENDING):
            return ''
        left, other = self._link.calls([['PTTL', key], ['GET', key]])
        if left == -1 or left > MENDING or isinstance(other, Exception):
            self._link.call('SET', key, name, 'PX', MENDING)   # somebody else has written that
            return ''
        return text(other or name.encode())

    def _stepped(self, verb: str, *argv: Any) -> int:
        total = 0
        while True:
            number = int(self._run(verb, *argv))
            total += number
            if number < const.LEASES_LIMIT:
                return total

    def _deliveries(self, found: list[Any],
                    whole: bool = False) -> tuple[list[Delivery], list[Late]]:
        """Deliveries as scripts answer them, and those of which much is to be fetched yet.

        One whose body or argument is gone by now has been cancelled, or is another
        pool's: it is left out, and reaped if it should be neither.
        """
        deliveries: list[Delivery] = []
        late: list[Late] = []
        at = 0
        while at < len(found):
            try:
                if not isinstance(found[at], list):
                    raw_id, token, number, header, body, waited = found[at:(at := at + 6)]
                    deliveries.append(Delivery(raw_id.decode(), token, number, header, body,
                                               (), b'', waited))
                    continue
                raw_id, token, number, header, *rest = found[at]
                at += 1
                fetch = partial(self._fetch, raw_id.decode(), token, number, header, *rest)
            except UnicodeDecodeError:
                continue   # no id: somebody else has written it
            if not whole and is_heavy(rest[0], rest[2]):
                late.append(Late(raw_id.decode(), token, header, fetch, rest[3]))
            elif (delivery := fetch()) is not None:
                deliveries.append(delivery)
        return deliveries, late

    def _fetch(self, id: str, token: bytes, number: int, header: bytes, body: bytes | int,
               start: int, flat: list[Any] | int, waited: int,
               memo: bytes = b'') -> Delivery | None:
        """A delivery, with what is long fetched by itself; None if that is gone."""
        arguments: tuple[tuple[str, bytes], ...] | None
        try:
            arguments = self._arguments(id, flat) if flat else ()
        except UnicodeDecodeError:
            return None
        whole = body if isinstance(body, bytes) else self._pieces.read(
            f'{self.prefix}b:{id}', ('HGET', f'{self.prefix}t:{id}', 'n'), token[:const.NONCE],
            start)
        if arguments is None or whole is None:
            return None
        return Delivery(id, token, number, header, whole, arguments, memo, waited)

    def _arguments(self, id: str, flat: list[Any] | int) -> tuple[tuple[str, bytes], ...] | None:
        """Ids and outcomes as `take.lua` answers them, or only how many; None if one is gone."""
        records: Any
        if isinstance(flat, int):
            names: list[str] = []
            for start in range(0, flat, CHUNK):
                names += [name.decode() for name in self._command(
                    'LRANGE', f'{self.prefix}a:{id}', start, start + CHUNK - 1)]
            records = self.results(names) if len(names) == flat else [None]
        else:
            names, records = [name.decode() for name in flat[::2]], flat[1::2]
            missing = [name for name, raw in zip(names, records) if not isinstance(raw, bytes)]
            late = iter(self.results(missing) if missing else ())
            records = [raw if isinstance(raw, bytes) else next(late) for raw in records]
        return None if None in records else tuple(zip(names, records))
