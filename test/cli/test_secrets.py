"""The command that counts what is signed with which secret, where messages are signed."""
from worq import Task
from worq.const import CONTENT

from test import broker_case
from test.cli.support import CommandCase

OLD, NEW = 'an old secret of the tests', 'a new secret of the tests'


class Secrets(CommandCase):

    def test_rotation(self):
        """What is still signed with an old secret is counted, until none of it is left: tasks that
        wait, however long they are, results that they need, and failures."""
        old = self.shop(secret=OLD)
        q = old.queue()
        done = Task(q.shop.add, id='done')(1)
        Task(q.shop.fail, id='failed')()
        self.work(old)
        later = Task(q.shop.add, id='waits', delay=999)(done)
        long = Task(q.shop.add, id='long', delay=999)('x' * (CONTENT + 1))
        Task(q.shop.add, id='behind', delay=999)(1)
        new = self.shop(secret=[NEW, OLD])
        Task(new.queue().shop.add, id='new', delay=999)(1)
        both = {'WORQ_SECRET': f'{NEW},{OLD}'}
        done = self.worq('secrets', '--json', **both)
        self.assertEqual(done.status, 1)
        self.assertEqual({each['secret']: (each['tasks'], each['results'])
                          for each in done.objects}, {'first': (1, 0), 'other': (4, 2)})
        self.assertRegex(done.err, '^4 tasks and 2 results are not signed with the first secret')
        text = self.worq('secrets', WORQ_SECRET=NEW).out
        self.assertRegex(text, r'\n[0-9a-f]{8}  first +1 +0\n|\n[0-9a-f]{8}  unknown here +4 +2\n')
        old.cancel_all(['waits', 'long', 'behind'])
        old.backend.forget(['failed', 'done', 'waits', 'long', 'behind'])
        done = self.worq('secrets', **both)
        self.assertEqual((done.status, later.id, long.id), (0, 'waits', 'long'))
        self.assertRegex(done.err, 'all of it is signed with the first secret')

    def test_none(self):
        """An empty queue has nothing that is signed."""
        self.broker().backend.purge()
        self.assertEqual(self.worq('secrets').status, 0)


class SecretsOnRedis(broker_case.RedisMixin, Secrets):
    """On Redis."""


class SecretsOnSqlite(broker_case.SqliteMixin, Secrets):
    """In a file. In memory nothing need be signed."""
