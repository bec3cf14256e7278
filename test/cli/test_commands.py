"""The commands that look and act, on each engine."""
import os
import types
from unittest import mock

from worq import Task, get_broker
from worq.cli import watch
from worq.pool.thread import WorkerPool
from worq.queue.base import Held, Outcome

from test import broker_case, support
from test.cli.support import CommandCase, worq


class Looks(CommandCase):

    def test_info(self):
        """Sizes by state, ages, pools; and what hinders the work."""
        broker = self.shop()
        q = broker.queue()
        first = q.shop.add(1)
        q.shop.add(first)
        Task(q.shop.add, delay=100)(1)
        text = self.ok('info')
        self.assertRegex(text, r'enqueued +1 +the oldest for [\d.]+ s')
        self.assertRegex(text, r'pending +1 +wait for other tasks\n')
        self.assertRegex(text, r'scheduled +1\b')
        self.assertIn('! no pool works on this queue', text)
        self.pool(broker)
        self.assertNotIn('!', self.ok('info'))
        found, = self.worq('info', '--json').objects
        self.assertEqual([found[word] for word in ('queue', 'pools', 'workers', 'busy')],
                         [self.name, 1, 2, 0])
        self.assertEqual(found['sizes'], {'enqueued': 1, 'pending': 1, 'scheduled': 1,
                                          'processing': 0})

    def test_several(self):
        """Several queues are told one after the other."""
        self.name = f'{self.name}-a'
        self.shop().queue().shop.add(1)
        other = self.broker('b')
        done = worq('info', '--url', self.url(), '-q', f'{self.name},{other.name}', '--json')
        self.assertEqual([each['sizes']['enqueued'] for each in done.objects], [1, 0])

    def test_pools(self):
        """Pools are told with what they run; broken ones with the reason."""
        broker = self.shop()
        broker.backend.purge()   # for a file to be there
        self.refused(1, f'no pool works on {self.name} .* -q {self.name}', 'pools')
        self.pool(broker, workers='[[11,2,"fit-1","shop.add",1500,""],[12,1]]')
        text = self.ok('pools')
        self.assertRegex(text, r'somewhere:1:abc +process +[\d.]+ s ago +1/2 +runs +3\n')
        self.assertRegex(text, r'shop.add +fit-1 +[\d.]+ s +somewhere:1:abc +11\n')
        found, = self.worq('pools', '--json').objects
        self.assertEqual((found['id'], found['workers'][0]['id']), ('somewhere:1:abc', 'fit-1'))
        self.pool(broker, pool='other:2:x', broken='ImportError: no module\nnamed x')
        self.assertIn('other:2:x: none of its workers can begin: ImportError: no module\\nnamed x',
                      self.ok('pools'))
        self.assertIn('! pool other:2:x', self.ok('info'))
        self.pool(broker, pool='loops:3:x', kind='aio',
                  blocked='the event loop of worker 7\nis busy')
        text = self.ok('pools')
        self.assertRegex(text, r'loops:3:x +aio .* blocked ')
        self.assertIn('loops:3:x: the event loop of worker 7\\nis busy', text)
        self.assertIn('! pool loops:3:x: the event loop', self.ok('info'))

    def test_explain(self):
        """Why a task is not done; an id that is unknown is an exit status."""
        broker = self.shop()
        Task(broker.queue().shop.add, id='a')(1)
        self.assertIn(f'shop.add [{self.name}:a] is enqueued', self.ok('explain', 'a'))
        done = self.worq('explain', 'a', 'b', '--json')
        self.assertEqual((done.status, [each['state'] for each in done.objects]),
                         (1, ['enqueued', 'unknown']))
        self.refused(2, 'no id', 'explain', '')

    def test_show(self):
        """All there is to see of a task, its result among it; nothing of that if it is to be
        hidden."""
        broker = self.shop()
        q = broker.queue()
        Task(q.shop.add, id='good')('a text', 'b')
        Task(q.shop.fail, id='bad')('reason')
        self.work(broker)
        text = self.ok('show', 'good', 'bad')
        self.assertRegex(text, rf'shop.add \[{self.name}:good\]  success\n  put +\d')
        self.assertRegex(text, "result +'a textb'\n")
        self.assertRegex(text, r'error +ValueError: reason\n +Traceback')
        self.assertNotIn('a textb', self.ok('show', 'good', '--hide'))
        Task(q.shop.add, id='later', delay=5000)(1)
        self.assertRegex(self.ok('show', 'later'), 'due +in 1 h')
        Task(q.shop.add, id='hard')(1, b=[2])
        delivery, = broker.backend.take('here:1:x', 1)
        broker.backend.beat('here:1:x', [Held('hard', delivery.token, b'[3, 4, "pages"]')])
        broker.backend.settle('here:1:x', [Outcome('hard', delivery.token, 'lost', b'SIGKILL')])
        text = self.ok('show', 'hard')
        self.assertRegex(text, r'argument 1 +1\n  b = +\[2\]\n')
        self.assertRegex(text, r'lost +\d.* ago  SIGKILL  \(here:1:x\)  at .* 75 %  3 of 4 pages\n')
        done = self.worq('show', 'good', 'none', '--json')
        self.assertEqual((done.status, [each['state'] for each in done.objects]),
                         (1, ['success', 'unknown']))

    def test_tasks(self):
        """Tasks by state and name, with their errors, as many as asked for."""
        broker = self.shop()
        q = broker.queue()
        Task(q.shop.add, id='good')(1)
        Task(q.shop.fail, id='bad')('a reason')
        self.work(broker)
        for n in range(3):
            Task(q.shop.add, id=f'ready-{n}')(n)
        Task(q.shop.report, id='wide')(q.shop.add(0), 1)
        Task(q.shop.add, id='later', delay=1000)(1)
        text = self.ok('tasks')
        self.assertEqual([line.split()[0] for line in text.splitlines()[1:]].count('later'), 1)
        self.assertRegex(text, r'later +shop.add +scheduled +\d+ s +\d+ min')
        self.assertRegex(text, r'wide +shop.report +pending ')
        self.assertNotIn('bad', text)
        self.assertRegex(self.ok('tasks', 'failed'),
                         r'bad +shop.fail +\d+ s +ValueError: a reason\n')
        self.assertEqual([each['id'] for each in self.worq(
            'tasks', '--name', 'shop.x,other.*', '--json').objects], [])
        self.assertEqual([each['id'] for each in self.worq(
            'tasks', '--name', 'shop.report', '--json').objects], ['wide'])
        done = self.worq('tasks', 'enqueued', '--oldest', '-n', '2', '--json')
        self.assertEqual([each['id'] for each in done.objects], ['ready-0', 'ready-1'])
        self.assertIn('... and more: -n 20', done.err)
        self.refused(1, 'no such task', 'tasks', 'enqueued', '--older', '1d')
        self.refused(2, "no such state: 'faild'; did you mean failed", 'tasks', 'faild')

    def test_graph(self):
        """The graph around a task: as a tree, for two languages, as JSON."""
        broker = self.shop()
        q = broker.queue()
        first = Task(q.shop.add, id='first')(1)
        Task(q.shop.add, id='last')(Task(q.shop.add, id='middle')(first))
        self.assertEqual(self.ok('graph', 'middle'), """\
shop.add [middle] pending
└─ shop.add [first] enqueued
is waited for by
└─ shop.add [last] pending
""")
        self.assertNotIn('last', self.ok('graph', 'first', '--down', '1'))
        self.assertIn('digraph', self.ok('graph', 'last', '--dot'))
        self.assertIn('graph LR', self.ok('graph', 'last', '--mermaid'))
        found, = self.worq('graph', 'last', '--json').objects
        self.assertEqual([node['key'] for node in found['nodes']], ['last', 'middle', 'first'])
        self.refused(1, 'unknown to the queue.*\n.*did you mean middle', 'graph', 'midle')
        self.refused(2, 'no number of levels', 'graph', 'middle', '--up', '-1')
        Task(q.shop.add, id='sum')([q.shop.add(n) for n in range(400)])
        text = self.ok('graph', 'sum')
        self.assertRegex(text, r'└─ shop.add ×400 \[\+[0-9a-f]+\] 400 enqueued\n$')
        stack = text.partition('[+')[2].partition(']')[0]
        self.assertEqual(self.ok('graph', 'sum', '--open', f'+{stack}').count('enqueued'), 101)

    def test_nearest(self):
        """Of an id that is not known the one is told that is like it."""
        broker = self.shop()
        Task(broker.queue().shop.add, id='fit-the-model-42')(1)
        for command, id in [('explain', 'fit-the'), ('show', 'fit-the-modle-42'),
                            ('cancel', 'it-the-model-42')]:
            self.refused(1, 'did you mean fit-the-model-42?', command, id)
        self.assertNotIn('mean', self.worq('explain', 'other').err)

    def test_check(self):
        """All is well, or it is told what is not, with an exit status."""
        broker = self.shop()
        self.pool(broker)
        self.assertEqual(self.ok('check'), f'{self.name}: nothing is ready, 1 pool beats, '
                                           'audit clean\n')
        broker.queue().shop.add(1)
        self.assertEqual(self.worq('check', '--oldest', '100', '--pools', '1').status, 0)
        for words, expected in [
                (['--oldest', '0'], 'the oldest ready task has waited for '),
                (['--pools', '2'], '1 pool beats, fewer than 2'),
                (['--here'], 'no pool of this host')]:
            done = self.worq('check', '--no-audit', *words)
            self.assertEqual(done.status, 4, done)
            self.assertIn(expected, done.out)
        with mock.patch.object(type(broker.backend), 'audit', return_value=['x is lost']), \
                mock.patch('worq.cli.keep.PAUSE', 0):
            done = self.worq('check', '--json')
        self.assertEqual((done.status, done.objects[0]['problems']), (4, ['audit: x is lost']))
        self.pool(broker, pool='here:1:x', host=os.uname().nodename)
        self.assertEqual(self.worq('check', '--here').status, 0)
        self.pool(broker, pool='bad:1:x', broken='ImportError: x')
        self.assertIn('none of its workers can begin', self.worq('check').out)
        self.assertEqual(self.worq('check', '--here').status, 0)   # that is of another host
        self.pool(broker, pool='bad:2:x', broken='ImportError: x', host=os.uname().nodename)
        self.assertIn('bad:2:x: none of its workers can begin', self.worq('check', '--here').out)

    def test_check_pools(self):
        """Tasks without a pool, and pools that have gone silent lately, are no good sign."""
        broker = self.shop()
        broker.queue().shop.add(1)
        self.assertIn('no pool works on this queue', self.worq('check').out)
        self.pool(broker)
        silent = {'p': {'host': 'h', 'seen': '120000', 'size': '1'}}
        with mock.patch.object(type(broker.backend), 'pools', return_value=silent):
            done = self.worq('check')
            self.assertEqual(done.status, 4)
            self.assertIn('pool p was last heard of 2 min ago', done.out)
            silent['p']['seen'] = '3000000'
            self.assertNotIn('last heard', self.worq('check').out)
            self.assertIn('silent', self.ok('pools'))

    def test_top(self):
        """Without a terminal the numbers, and what runs, are told once; or as often as asked."""
        broker = self.shop()
        self.pool(broker, workers='[[11,2,"fit-1","shop.add",1500,""],[12,1]]')
        self.assertRegex(self.ok('top'), r'enqueued +0\n(.*\n)+TASK .*\nshop.add +fit-1 ')
        self.assertEqual([each['pools'] for each in self.worq(
            'top', '--json', '-n', '2', '--interval', '1ms').objects], [1, 1])

    def test_queues(self):
        """The queues at an address that pools have worked on."""
        broker = self.shop()
        if self.name not in broker.backend.queues():
            self.pool(broker)
        broker.queue().shop.add(1)
        found = {each['queue']: each for each in self.worq('queues', '--json').objects}
        self.assertEqual(found[self.name]['sizes']['enqueued'], 1)
        self.assertIn(f'\n{self.name} ', '\n' + self.ok('queues'))


class Acts(CommandCase):

    def test_call(self):
        """A call is put with its arguments and options, and its id is printed."""
        broker = self.shop()
        self.pool(broker)
        id = self.ok('call', 'shop.add', '[1]', 'b=[2]').strip()
        self.assertEqual(self.work(broker), 1)
        self.assertEqual(broker.deferred(id).value, [1, 2])
        self.assertEqual(self.ok('call', 'shop.add', '1', '--id', 'mine', '--delay', '1h'),
                         'mine\n')
        self.assertEqual(broker.status('mine'), 'scheduled')
        self.refused(1, 'cannot enqueue task with duplicate id', 'call', 'shop.add', '1', '--id',
                     'mine')
        found, = self.worq('call', 'shop.add', '1', '--json').objects
        self.assertEqual((found['name'], broker.status(found['id'])), ('shop.add', 'enqueued'))

    def test_call_mistakes(self):
        """What cannot be a call is told, in words to type, and nothing is put."""
        broker = self.shop()
        self.pool(broker)
        for status, expected, *words in [
                (2, "'\"world\"'", 'shop.add', 'world'),
                (2, 'arguments without a name come first', 'shop.add', 'b=1', '2'),
                (1, 'knows a task .shop.ad.; did you mean shop.add', 'shop.ad', '1'),
                (2, 'priority: .hihg.; did you mean high', 'shop.add', '--priority', 'hihg'),
                (2, 'too late to begin', 'shop.add', '--delay', '2', '--expires', '1'),
                (2, 'invalid task name', '\x07', '--force'),
                (2, 'no such codec', 'shop.add', '--codec', 'xml')]:
            with self.subTest(words=words):
                self.refused(status, expected, 'call', *words)
        self.assertEqual(len(broker), 0)
        self.assertEqual(self.worq('call', 'shop.ad', '--force').status, 0)

    def test_call_without_pool(self):
        """With no pool there the task is put, and that is said."""
        done = self.refused(0, 'no pool works on the queue', 'call', 'shop.add', '1')
        self.assertEqual(self.broker().status(done.out.strip()), 'enqueued')

    def test_call_and_wait(self):
        """--wait prints the result; the exit status tells how it ended."""
        broker = self.shop()
        with WorkerPool(broker, 1):
            self.assertEqual(self.ok('call', 'shop.add', '1', '--wait'), '2\n')
            done = self.worq('call', 'shop.fail', '"so"', '--wait', '10', '--json')
            self.assertEqual(done.status, 1)
            found, = done.objects
            self.assertEqual(found['status'], 'failed')
            self.assertIn('ValueError: so', found['error'])
            self.assertIn('Traceback', done.err)

    def test_call_codec(self):
        """The caller chooses how the call is written."""
        broker = self.shop(codec='json')
        self.pool(broker)
        id = self.ok('call', 'shop.add', '[1]', 'b=[{"x": null}]', '--codec', 'json').strip()
        self.work(broker)
        self.assertEqual(broker.deferred(id).value, [1, {'x': None}])

    def test_cancel(self):
        """One is cancelled at once; more only if somebody says yes."""
        q = self.broker().queue()
        for id in 'abcd':
            Task(q.x, id=id)()
        self.assertEqual(self.ok('cancel', 'a'), 'a: cancelled\n')
        self.refused(1, 'Cancel 2 tasks.*Nobody is there .*: add --yes', 'cancel', 'b', 'c')
        self.refused(1, 'nothing was done', 'cancel', 'b', 'c', typed='n\n')
        self.assertEqual(self.worq('cancel', 'b', 'c', typed='y\n').status, 0)
        self.assertEqual(self.worq('cancel', 'c', 'd', 'no', '--yes', '--json').objects, [
            {'id': 'c', 'outcome': 'completed'}, {'id': 'd', 'outcome': 'cancelled'},
            {'id': 'no', 'outcome': 'unknown'}])
        self.assertEqual(self.worq('cancel', 'no').status, 1)

    def test_cancel_by_name(self):
        """All tasks of a name, or in a state, are cancelled, if somebody says yes."""
        broker = self.shop()
        q = broker.queue()
        for n in range(250):
            Task(q.shop.add, id=f'a{n}')(n)
        Task(q.shop.fail, id='kept')()
        later = Task(q.shop.add, id='later', delay=100)(1)
        self.refused(1, 'Cancel 250 tasks of .* add --yes', 'cancel', '--name', 'shop.add',
                     '--state', 'enqueued')
        self.assertEqual(self.ok('cancel', '--name', 'shop.add', '--state', 'enqueued', '--yes'),
                         '250 tasks cancelled\n')
        self.assertEqual((broker.status('kept'), later.status), ('enqueued', 'scheduled'))
        self.assertEqual(self.ok('cancel', '--name', 'shop.*', '--yes'), '2 tasks cancelled\n')
        self.refused(1, 'no such task', 'cancel', '--state', 'pending')
        self.refused(2, 'either ids, or', 'cancel', 'x', '--state', 'pending')
        self.refused(2, 'which tasks', 'cancel')
        Task(q.shop.add, id='again')(1)
        with mock.patch('worq.core.Broker.cancel_shown', lambda *args: ['completed']):
            done = self.worq('cancel', '--name', 'shop.*')
        self.assertEqual((done.status, done.out), (
            1, '0 tasks cancelled\n1 not, as again: had ended already\n'))

    def test_purge(self):
        """All that has not begun is cancelled, if somebody says yes."""
        broker = self.broker()
        self.assertEqual(self.worq('purge').status, 1)
        for _ in range(3):
            broker.queue().x()
        self.refused(1, 'Cancel all 3 tasks', 'purge')
        done = worq('purge', '--url', self.url(), '-q', '', '--yes')
        self.assertEqual((done.status, done.err.splitlines()[0]),
                         (2, 'worq: the name of the queue is empty: write -q NAME'))
        self.assertEqual(len(broker), 3)
        self.assertEqual(self.ok('purge', '--yes'), f'{self.name}: 3 tasks cancelled\n')
        self.assertEqual(len(broker), 0)

    def test_log(self):
        """What was done here is told with who did it."""
        broker = self.broker()
        Task(broker.queue().x, id='a')()
        self.assertEqual(self.worq('log').status, 1)
        self.ok('cancel', 'a')
        broker.queue().x()
        self.ok('purge', '--yes')
        self.assertRegex(self.ok('log'), r'WHEN.*\n.*@.* purge +1 *\n.*@.* cancel +1 +a\n')
        found, = self.worq('log', '-n', '1', '--json').objects
        self.assertEqual((found['what'], found['tasks']), ('purge', 1))

    def test_audit(self):
        """What is wrong is told with an exit status, and repaired on demand."""
        self.broker().backend.purge()
        self.assertEqual(self.ok('audit'), f'{self.name}: all is as it should be\n')
        for found, status, said, *more in [
                ([['a is lost'], ['a is lost']], 4, 'a is lost\n'),
                ([['a is lost'], ['b changed']], 0, f'{self.name}: all is as it should be\n'),
                ([['a is lost'], []], 0, f'a is lost\n{self.name}: repaired\n', '--repair')]:
            with mock.patch.object(type(self.broker().backend), 'audit', side_effect=found), \
                    mock.patch('worq.cli.keep.PAUSE', 0):
                done = self.worq('audit', *more)
            self.assertEqual((done.status, done.out), (status, said))


class Watches(CommandCase):

    def test_ends(self):
        """The exit status is how they ended."""
        broker = self.shop()
        q = broker.queue()
        Task(q.shop.add, id='good')(1)
        Task(q.shop.fail, id='bad')()
        self.work(broker)
        self.assertEqual(self.ok('watch', 'good'), 'good: success\n')
        done = self.worq('watch', 'good', 'bad', '--json')
        self.assertEqual((done.status, [each['status'] for each in done.objects]),
                         (1, ['success', 'failed']))
        self.assertEqual(self.worq('watch', 'unknown').status, 1)

    def test_unreadable(self):
        """A value whose class is not to be found here is a success all the same, and is shown."""
        broker = self.shop()
        elsewhere = types.ModuleType('elsewhere')
        exec('class Thing:\n    pass', vars(elsewhere))
        with mock.patch.dict('sys.modules', elsewhere=elsewhere):
            broker.expose(elsewhere.Thing)
            Task(broker.queue().Thing, id='it')()
            self.work(broker)
        self.assertEqual(self.ok('watch', 'it'), 'it: success\n')
        self.assertEqual(watch.result_of(broker.deferred('it'))[1], 'elsewhere.Thing()')

    def test_progress(self):
        """How far it has come is told until it ends."""
        broker = self.shop()
        deferred = Task(broker.queue().shop.add, id='it')(1)
        delivery, = broker.backend.take('p', 1)
        broker.backend.beat('p', [Held('it', delivery.token, b'[3, 4, "of it"]')])
        seen = []

        def settle(board):
            draw(board)
            seen.append(1)
            broker.backend.settle('p', [Outcome('it', delivery.token, 'value', broker.codec
                                                .encode_value('it', deferred._nonce, 2))])
        draw = watch.Board.draw
        with mock.patch.object(watch.Board, 'draw', settle), mock.patch.object(watch, 'PAUSE', .01):
            done = self.worq('watch', 'it')
        self.assertEqual(done.status, 0, done)
        self.assertIn('[##################------] 75 %  3 of 4 of it', done.err)

    def test_timeout(self):
        """After the time that was given it says why nothing has come."""
        Task(self.broker().queue().x, id='x')()
        self.refused(1, 'is enqueued', 'watch', 'x', '--timeout', '0.01')


broker_case.on_every_queue(globals(), Looks, file=True)
broker_case.on_every_queue(globals(), Acts, file=True)
broker_case.on_every_queue(globals(), Watches)


class Outages(CommandCase, broker_case.RedisMixin):

    __test__ = True

    def url(self):
        return f'redis://:hidden@127.0.0.1:{support.free_port()}/0'

    def test_away(self):
        """A server that is not there is an exit status of its own, and no password is shown."""
        with mock.patch('worq.cli.session.RETRY_FOR', 0.01):
            for words in [('info',), ('pools',), ('call', 'x'), ('watch', 'x'), ('purge',),
                          ('audit',), ('cancel', 'x'), ('explain', 'x'), ('queues',), ('top',),
                          ('check',), ('show', 'x'), ('tasks',)]:
                done = self.refused(3, '127.0.0.1', *words)
                self.assertNotIn('hidden', done.err + done.out)


def test_interrupted():
    """Ctrl-C ends a watch without a traceback."""
    with get_broker('memory://', 'interrupted') as broker:
        Task(broker.queue().x, id='x')()
        with mock.patch.object(watch.Board, 'draw', side_effect=KeyboardInterrupt), \
                mock.patch.object(watch, 'PAUSE', 0.01):
            done = worq('watch', 'x', '--url', 'memory://', '-q', 'interrupted')
        support.eq_(done, (130, '', ''))
        broker.cancel('x')
