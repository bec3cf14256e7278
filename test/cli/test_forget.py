"""The commands that forget results, and delete queues, on each engine."""
from worq import Task
from worq.queue.base import Outcome

from test import broker_case
from test.cli.support import CommandCase, worq


class Forgets(CommandCase):

    def test_forget(self):
        """Results are dropped by id, or all of a state after a question, and it is noted."""
        broker = self.shop()
        for id in 'abc':
            Task(broker.queue().shop.fail, id=id)()
        Task(broker.queue().shop.add, id='later', delay=99)(1)
        found = broker.backend.take('p', 9)
        broker.backend.settle('p', [Outcome(d.id, d.token, 'expire', b'no') for d in found])
        self.assertEqual(self.ok('forget', 'a'), 'a: forgotten\n')
        self.assertEqual(self.worq('forget', 'later').out,
                         'later: is not over; worq cancel ends it\n')
        self.refused(1, 'did you mean', 'forget', 'latre')
        self.refused(1, 'Forget what 2 tasks of .* came to', 'forget', '--state', 'expired')
        self.refused(1, 'no such task', 'forget', '--state', 'expired', '--older', '1h')
        self.assertEqual(self.ok('forget', '--state', 'expired', '--yes'), '2 tasks forgotten\n')
        self.refused(1, 'no such task', 'forget', '--state', 'expired')
        self.refused(2, 'which results', 'forget')
        self.refused(2, 'either ids, or', 'forget', 'a', '--state', 'failed')
        self.assertRegex(self.ok('log'), r'forget +2 .*\n.* forget +1 +a\n')

    def test_delete(self):
        """A queue is deleted that is named, if no pool works on it and somebody says yes."""
        broker = self.shop()
        broker.queue().shop.add(1)
        self.assertEqual(worq('delete', '--url', self.url()).status, 2)
        self.refused(1, 'Delete the queue .*, with 1 tasks that are not over', 'delete')
        self.assertEqual(len(broker), 1)
        broker.backend.join('p', {'host': 'h'})
        self.refused(1, '1 pools work on .*, as p: stop them first', 'delete', '--yes')
        self.assertEqual(self.ok('delete', '--yes', '--force'), f'{self.name}: deleted\n')
        self.assertEqual((len(broker), broker.pools()), (0, []))


broker_case.on_every_queue(globals(), Forgets, file=True)
