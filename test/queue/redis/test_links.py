"""Sentinel and Cluster: found, followed, and gone on with after a failover."""
from __future__ import annotations

import signal
import threading
import time
import unittest
from typing import Any, Callable

from redis.crc import key_slot

import worq
from test import leaks, support
from test.pool import tasks as pool_tasks
from test.queue.contract import message
from test.queue.redis import topology
from test.support import Server, eq_, eventually
from worq import QueueError, TaskExpired, trust
from worq.pool.process import pool as process
from worq.pool.thread import pool as thread
from worq.queue.redis import queue as redis
from worq.queue.redis.address import parse

GOES_ON = 15      # seconds from the death of a master until calls and results come again
PATIENCE = 30     # seconds for what was under way to end


class Load:
    """A thread that calls, and another that waits for what comes of it."""

    def __init__(self, broker: worq.Broker) -> None:
        self.broker = broker
        self.made: list[worq.Deferred] = []
        self.errors: list[Exception] = []
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        q = self.broker.queue()
        while not self.done.is_set():
            try:
                self.made.append(q.same(len(self.made)))
            except Exception as error:
                self.errors.append(error)
            time.sleep(0.005)

    def works(self) -> Callable[[], bool]:
        """Answers whether a call that is made from now on has its result."""
        known = len(self.made)

        def look() -> bool:
            try:
                return any(d.has_value() or d.wait(0.01) for d in self.made[known:known + 1])
            except QueueError:
                return False
        return look

    def stop(self) -> tuple[int, int]:
        """How many calls came to a value, and how many to a TaskExpired; nothing else."""
        self.done.set()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()
        values = lost = 0
        for number, deferred in enumerate(self.made):
            try:
                eq_(deferred.result(timeout=PATIENCE), number)
                values += 1
            except TaskExpired:
                lost += 1
        assert all(type(error) is QueueError for error in self.errors), self.errors
        return values, lost


class Case(unittest.TestCase):

    def setUp(self) -> None:
        leaks.watch(self)
        self.name = support.unique()

    def broker(self, url: str, **options: Any) -> worq.Broker:
        broker = worq.get_broker(url, self.name, **options)
        broker.expose(pool_tasks.tasks)
        self.addCleanup(broker.close)
        return broker

    def pool(self, kind: str, broker: worq.Broker) -> Any:
        if kind == 'thread':
            return thread.WorkerPool(broker, workers=2)
        return process.WorkerPool(broker, pool_tasks.init, (self.name,), workers=2)

    def failover(self, kind: str, url: str, master: Server, replica: Server,
                 number: int = signal.SIGKILL) -> None:
        """Under load, a master is gone: calls and results come again in time, of what
        was under way all comes to an end, and what the replica had heard of is not lost."""
        broker = self.broker(url)
        with self.pool(kind, broker):
            load = Load(broker)
            eventually(load.works(), timeout=PATIENCE)
            eventually(lambda: len(load.made) > 100, timeout=PATIENCE)
            for deferred in load.made[:100]:
                self.assertTrue(deferred.wait(PATIENCE))
            told = master.replication()['master_repl_offset']
            eventually(lambda: replica.replication()['slave_repl_offset'] >= told,
                       timeout=PATIENCE)
            master.kill(number)
            begin = time.monotonic()
            made = len(load.made)
            eventually(lambda: len(load.made) > made + 1, timeout=PATIENCE)
            eventually(load.works(), timeout=PATIENCE)
            took = time.monotonic() - begin
            values, lost = load.stop()
        print(f'{kind}: {took:.1f} s, {values} values, {lost} lost, {len(load.errors)} errors')
        self.assertLess(took, GOES_ON)
        self.assertGreaterEqual(values, 100)
        eq_(broker.backend.audit(), [])


# -- Sentinel -----------------------------------------------------------------------

class Sentinel(Case):

    def test_failover(self) -> None:
        """Threads go on when the master is killed."""
        with topology.Watched() as watched:
            self.failover('thread', watched.url, watched.master, watched.replica)
            eq_(watched.replica.cli('ROLE')[0], b'master')

    def test_failover_of_one_that_hangs(self) -> None:
        """Children go on when the master only stops answering; when it is back as a replica,
        nobody minds."""
        with topology.Watched() as watched:
            self.failover('process', watched.url, watched.master, watched.replica,
                          signal.SIGSTOP)
            with self.broker(watched.url) as broker:
                len(broker)
                watched.master.kill(signal.SIGCONT)
                eventually(lambda: watched.master.replication().get('role'), 'slave', PATIENCE)
                for _ in range(20):
                    eq_(len(broker), 0)

    def test_planned(self) -> None:
        """A master that is made a replica refuses writes: they go to the new one, also those
        that must not be sent twice, and a bell rings."""
        with topology.Watched() as watched:
            with redis.TaskQueue(watched.url, self.name) as q:
                q.put([message('a')])
                bell = q.bell('p')
                self.addCleanup(bell.close)
                bell.arm()
                watched.replica.cli('REPLICAOF', 'NO', 'ONE')
                watched.master.cli('REPLICAOF', '127.0.0.1', watched.replica.port)
                for one in watched.sentinels:
                    one.cli('SENTINEL', 'REMOVE', watched.service)
                    one.cli('SENTINEL', 'MONITOR', watched.service, '127.0.0.1',
                            watched.replica.port, 2)
                eq_([d.id for d in q.take('p', 1)], ['a'])
                eq_(q._link._where, ('127.0.0.1', watched.replica.port))
                bell.clear()
                bell.arm()

    def test_without_some(self) -> None:
        """Sentinels that are dead, or know nothing, are passed over; if none knows, the error
        says what each has answered."""
        with topology.Watched() as watched:
            dead, stopped, alive = watched.sentinels
            dead.kill()
            stopped.kill(signal.SIGSTOP)
            q = redis.TaskQueue(watched.url, self.name, retry_for=1)
            self.addCleanup(q.close)
            eq_(q.size(), 0)
            alive.cli('SENTINEL', 'REMOVE', watched.service)
            watched.master.kill()
            with self.assertRaisesRegex(
                    QueueError, r"the master of 'tasks' .*no such service.*(refused|[Tt]imeout)"):
                q.size()

    def test_replica(self) -> None:
        """A Sentinel that names a server which is no master is not believed."""
        with topology.Watched() as watched:
            master = watched.sentinels[0]
            master.cli('SENTINEL', 'REMOVE', watched.service)
            for one in watched.sentinels[1:]:
                one.kill()
            watched.master.kill()
            master.cli('SENTINEL', 'MONITOR', watched.service, '127.0.0.1',
                       watched.replica.port, 9)
            q = redis.TaskQueue(watched.url, self.name, retry_for=1)
            self.addCleanup(q.close)
            with self.assertRaisesRegex(QueueError, 'is no master'):
                q.size()

    def test_passwords(self) -> None:
        """User and password are for the Redis; the Sentinels have their own."""
        with topology.Watched() as watched:
            watched.master.cli('CONFIG', 'SET', 'requirepass', 'for redis')
            for one in watched.sentinels:
                one.cli('ACL', 'SETUSER', 'default', 'resetpass', '>for sentinel')
            host = watched.url.partition('//')[2]
            url = f'redis+sentinel://:for%20redis@{host}?sentinel_password=for%20sentinel'
            with redis.TaskQueue(url, self.name) as q:
                eq_(q.put([message('a')]), [])
                self.assertNotIn('for', repr(q).lower().replace('127', ''))
            with redis.TaskQueue(f'redis+sentinel://:for%20redis@{host}', self.name) as q, \
                    self.assertRaisesRegex(QueueError, '(?i)auth'):
                q.size()


# -- Cluster ------------------------------------------------------------------------

class Cluster(Case):

    def setUp(self) -> None:
        super().setUp()
        self.slot = key_slot(f'worq:{{{self.name}}}:m'.encode())

    def test_failover(self) -> None:
        """Threads go on when the node of the queue is killed."""
        with topology.Cluster(self.slot) as cluster:
            self.failover('thread', cluster.url, cluster.owner, cluster.replica)
            eq_(cluster.replica.cli('ROLE')[0], b'master')

    def test_failover_of_one_that_hangs(self) -> None:
        """Children go on when the node of the queue only stops answering."""
        with topology.Cluster(self.slot) as cluster:
            self.failover('process', cluster.url, cluster.owner, cluster.replica,
                          signal.SIGSTOP)

    def test_many_queues(self) -> None:
        """Queues go to the nodes of their slots, whichever nodes the URL names."""
        with topology.Cluster(self.slot) as cluster:
            nodes = set()
            for n in range(30):
                with redis.TaskQueue(cluster.url, f'{self.name}-{n}') as q:
                    eq_(q.put([message('a'), message('b', 'a')]), [])
                    eq_((q.size(), q.audit()), (2, []))
                    nodes.add(q._link._where)
            eq_(nodes, {('127.0.0.1', node.port) for node in cluster.masters})
            with self.assertRaisesRegex(QueueError, 'redis.cluster://'):
                other = next(node for node in cluster.masters if node is not cluster.owner)
                redis.TaskQueue(other.url, self.name).size()

    def test_slot_moves(self) -> None:
        """While a slot is moved, some keys are here and some there: nothing runs on half of them,
        everybody waits, and afterwards nothing is lost."""
        with topology.Cluster(self.slot) as cluster:
            target = next(node for node in cluster.masters if node is not cluster.owner)
            broker = self.broker(cluster.url)
            impatient = redis.TaskQueue(cluster.url, self.name, retry_for=0.5)
            self.addCleanup(impatient.close)
            with self.pool('thread', broker):
                load = Load(broker)
                eventually(load.works(), timeout=PATIENCE)
                target.cli('CLUSTER', 'SETSLOT', self.slot, 'IMPORTING', cluster.owner.id)
                cluster.owner.cli('CLUSTER', 'SETSLOT', self.slot, 'MIGRATING', target.id)
                with self.assertRaisesRegex(QueueError, 'being moved'):   # all are here
                    impatient.put([message('x')])
                keys = cluster.owner.cli('CLUSTER', 'GETKEYSINSLOT', self.slot, 1000)
                half = keys[::2]
                cluster.owner.cli('MIGRATE', '127.0.0.1', target.port, '', 0, 5000,
                                  'KEYS', *half)
                for verb in [lambda: impatient.put([message('x')]),
                             lambda: impatient.take('p', 1),
                             lambda: impatient.turn('p', limit=1), impatient.purge]:
                    with self.assertRaisesRegex(QueueError, 'being moved'):
                        verb()
                cluster.migrate(target)
                for node in [target, cluster.owner, *cluster.masters]:
                    node.cli('CLUSTER', 'SETSLOT', self.slot, 'NODE', target.id)
                eventually(load.works(), timeout=PATIENCE)
                values, lost = load.stop()
            eq_(lost, 0)
            eq_(broker.backend.audit(), [])
            eq_(broker.backend._link._where, ('127.0.0.1', target.port))


# -- addresses ----------------------------------------------------------------------

class Urls(unittest.TestCase):

    def test_good(self) -> None:
        """Hosts, service, database, user and options arrive where they belong."""
        found = parse('redis+sentinel://u:p%40@a,b:1,[::1]:2/my%20tasks/3?timeout=4')
        eq_(found.finder.hosts, [('a', 26379), ('b', 1), ('::1', 2)])
        eq_((found.finder.service, found.options['db'], found.timeout), ('my tasks', 3, 4))
        eq_((found.options['username'], found.options['password']), ('u', 'p@'))
        self.assertNotIn('password', found.finder.options)
        found = parse('rediss+cluster://u:p@a,b:1/?ssl_ca_certs=/c.pem', 'worq:{x}:m')
        eq_((found.finder.hosts, found.finder.slot), ([('a', 6379), ('b', 1)], key_slot(b'x')))
        for options in found.options, found.finder.options:
            eq_((options['username'], options['password'], options['ssl_ca_certs']),
                ('u', 'p', '/c.pem'))
        eq_(parse('redis+sentinel://a/s?sentinel_password=x').finder.options['password'], 'x')
        self.assertNotIn('db', parse('redis+sentinel://a/s').options)

    def test_bad(self) -> None:
        """A mistake in a URL is an error that says what to write, and no password."""
        for url, what in [
                ('redis+sentinel://a', 'no service.*as the Sentinels call it'),
                ('redis+sentinel://a/', 'no service'),
                ('redis+sentinel:///s', r'no host.*redis\+sentinel://host:26379'),
                ('redis+sentinel://a,/s', 'no host'),
                ('redis+sentinel://a:x/s', 'bad port.*26379'),
                ('redis+sentinel://a/s/x', "bad database 'x'"),
                ('redis+sentinel://a/s?ssl_keyfile=k', r'rediss\+sentinel://'),
                ('redis+cluster://', 'no host'),
                ('redis+cluster://u:secret@a/1', 'a cluster has none but 0'),
                ('redis+cluster://a?db=1', 'a cluster has none but 0'),
                ('redis+cluster://a?sentinel_password=secret', r'redis\+sentinel://'),
                ('redis+cluster://a?ssl_keyfile=k', r'rediss\+cluster://'),
                ('redis://u:secret@a..b/', r"bad host 'a\.\.b'.*1 to 63"),
                ('redis+sentinel://a,' + 'b' * 64 + '/s', 'bad host'),
                ('redis://a,b', r'several hosts.*redis\+cluster://'),
                ('redis+other://a', 'unknown scheme'), ('unix+cluster:///x', 'unknown scheme'),
                ('redis+cluster://a?durable=-1', 'how many replicas'),
                ('redis://a?durable=x', 'bad durable')]:
            with self.assertRaisesRegex(ValueError, what) as caught:
                redis.TaskQueue(url)
            self.assertNotIn('secret', str(caught.exception))
        with self.assertRaisesRegex(ValueError, 'brace'):
            redis.TaskQueue('redis+cluster://a', '}x')

    def test_schemes(self) -> None:
        """Each scheme that is offered can be used, and others are told which there are."""
        for scheme in worq.SCHEMES:
            rest = {'memory': '', 'unix': '/x'}.get(scheme, 'localhost/s')
            rest = 'localhost' if 'sentinel' not in scheme and rest != '/x' else rest
            if scheme != 'sqlite':   # an address of a file is another matter
                worq.get_broker(f'{scheme}://{rest}', 'schemes', secret='x' * 16).close()
        with self.assertRaisesRegex(ValueError, r'redis\+sentinel://.*redis\+cluster://'):
            worq.get_broker('sentinel://a')

    def test_secret(self) -> None:
        """Without a secret every host that is named has to be this machine."""
        for url, local in [
                ('redis+sentinel://localhost,127.0.0.1:1,[::1]:2/s', True),
                ('redis+sentinel://localhost,10.0.0.1/s', False),
                ('redis+sentinel://u:127.0.0.1@other,localhost/s', False),
                ('redis+cluster://127.0.0.1:7000,localhost:7001/', True),
                ('redis+cluster://127.0.0.1:7000,example.com/', False),
                ('rediss+cluster://example.com/', False),
                ('redis+sentinel://,localhost/s', False)]:
            eq_(trust.is_local(url), local, url)
        with self.assertRaisesRegex(ValueError, 'WORQ_SECRET'):
            trust.keyring_for('redis+sentinel://localhost,example.com/s', environ={})
