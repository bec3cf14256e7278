"""The inbox is only a hint: whoever waits gets an end though the news of it was lost."""
from __future__ import annotations

from contextlib import suppress
import threading
from unittest import mock

from test.broker_case import BrokerCase, on_every_queue
from test.support import eventually
from test.test_inbox import Counting, identity
from worq import inbox
from worq.errors import QueueError

WAIT = 30


class LostNewsContract(BrokerCase):
    """The regular look at all that is awaited is far away in these tests: nothing hangs on it."""

    __test__ = False

    def setUp(self):
        super().setUp()
        for name, seconds in [('REWATCH', 1000.0), ('PAUSE', (0.001, 0.01))]:
            patch = mock.patch.object(inbox, name, seconds)
            patch.start()
            self.addCleanup(patch.stop)
        self.b = self.broker()
        self.b.expose(identity)
        self.q = self.b.queue()
        self.worker = self.broker()
        self.worker.expose(identity)
        self.real = self.b.backend

    def stand_before(self, **verbs):
        """Have some verbs of the backend done otherwise, for the inbox alone.

        To have tasks verified is for those who have waited for long: here nobody does.
        """
        stand_in = Counting(self.real)
        vars(stand_in).update(verbs)
        self.b.inbox.backend = stand_in
        self.addCleanup(lambda: self.assertNotIn('verify', stand_in.calls))
        return stand_in

    def waiter(self, deferred, timeout=None):
        """A thread that waits; and where its answer comes to."""
        got = []

        def wait():
            with suppress(KeyboardInterrupt):
                got.append(deferred.wait(timeout))

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        return thread, got

    def lose_news(self):
        """Empty the inbox, as a server does that has lost its memory of it."""
        while self.real.wait(self.b.inbox.client, 0):
            pass

    def test_asked_in_vain(self):
        """Who subscribes while the queue cannot be asked is told so."""
        def watch(client, ids):
            raise QueueError('away')

        deferred, announce = self.q.identity(1), mock.Mock()
        self.stand_before(watch=watch)
        self.addCleanup(self.b.inbox.unsubscribe, deferred, announce)
        with self.assertRaisesRegex(QueueError, 'away'):
            self.b.inbox.subscribe(deferred, announce)
        announce.assert_not_called()

    def test_news_lost_with_the_connection(self):
        """Who listened when the connection broke asks again at once: the news may be gone."""
        deferred = self.q.identity(1)
        listening, broken = threading.Event(), threading.Event()

        def wait(client, timeout):
            if not broken.is_set():
                listening.set()
                broken.wait(WAIT)
                self.lose_news()
                raise QueueError('the connection broke')
            return self.real.wait(client, min(timeout, 0.05))

        self.stand_before(wait=wait)
        with self.assertLogs('worq.inbox', 'WARNING'):
            thread, got = self.waiter(deferred)
            self.assertTrue(listening.wait(WAIT))
            self.work(self.worker)
            broken.set()
            thread.join(WAIT)
        self.assertEqual(got, [True])

    def test_look_that_failed_for_others(self):
        """Who relied on the look of another is watched by the one that leads, if that failed."""
        first = self.q.identity(1)
        calm, looking = threading.Event(), threading.Event()
        calm.set()

        def watch(client, ids):
            if calm.is_set():
                return self.real.watch(client, ids)
            looking.set()
            calm.wait(WAIT)   # until the third one relies on this look
            raise QueueError('away')

        def wait(client, timeout):
            return self.real.wait(client, min(timeout, 0.05))

        box = self.b.inbox
        self.stand_before(watch=watch, wait=wait)
        thread, got = self.waiter(first)
        eventually(lambda: box._leader is not None and box._rewatch_at > 0, True)
        calm.clear()
        second, third = self.q.identity(2), self.q.identity(3)   # a look for one takes both
        errors = []

        def look():
            try:
                second.wait(0)
            except QueueError as error:
                errors.append(error)

        looker = threading.Thread(target=look)
        looker.start()
        self.assertTrue(looking.wait(WAIT))
        self.assertIn(third.id, box._asked)
        relying, got_third = self.waiter(third)
        eventually(lambda: third.id in box._waiting, True)
        calm.set()
        looker.join(WAIT)
        self.assertEqual(len(errors), 1)
        self.work(self.worker)
        for each in thread, relying:
            each.join(WAIT)
        self.assertEqual((got, got_third), ([True], [True]))

    def test_interrupted_with_news(self):
        """Who leads after one that was interrupted, and may have had news, asks for them anew."""
        first, second = self.q.identity(1), self.q.identity(2)
        listening, ended = threading.Event(), threading.Event()

        def wait(client, timeout):
            if not ended.is_set():
                listening.set()
                ended.wait(WAIT)
                self.lose_news()
                raise KeyboardInterrupt
            return self.real.wait(client, min(timeout, 0.05))

        calls = self.stand_before(wait=wait).calls
        thread, none = self.waiter(first)
        self.assertTrue(listening.wait(WAIT))
        relying, got = self.waiter(second)
        eventually(lambda: second.id in self.b.inbox._waiting and second.id in self.b.inbox._asked)
        self.work(self.worker)
        calls.clear()
        ended.set()
        relying.join(WAIT)
        self.assertEqual(got, [True])
        self.assertEqual(calls, ['watch'])
        thread.join(WAIT)
        self.assertEqual(none, [])

    def test_news_of_another_life(self):
        """News that is not of the life that is waited for is a reason to ask."""
        deferred = self.q.identity(1)
        listening, ended = threading.Event(), threading.Event()
        hints = [(deferred.id, None)]

        def wait(client, timeout):
            listening.set()
            ended.wait(WAIT)
            self.lose_news()
            return [hints.pop()] if hints else self.real.wait(client, min(timeout, 0.05))

        self.stand_before(wait=wait)
        thread, got = self.waiter(deferred)
        self.assertTrue(listening.wait(WAIT))
        self.work(self.worker)
        ended.set()
        thread.join(WAIT)
        self.assertEqual(got, [True])

    def test_last_look(self):
        """Who waits in vain looks once more in the end: what has completed is never 'not done'."""
        deferred = self.q.identity(1)
        self.assertFalse(deferred)   # it is asked for
        listening = threading.Event()

        def wait(client, timeout):
            listening.set()
            done.wait(WAIT)
            self.lose_news()
            return []

        done = threading.Event()
        self.stand_before(wait=wait)
        clock = mock.patch.object(inbox.time, 'monotonic', lambda: 1000.0 * done.is_set())
        with clock:   # time is up as soon as it has completed
            thread, got = self.waiter(deferred, 5)
            self.assertTrue(listening.wait(WAIT))
            self.work(self.worker)
            done.set()
            thread.join(WAIT)
        self.assertEqual(got, [True])


on_every_queue(globals(), LostNewsContract, file=True)
