"""The page cannot hurt what it watches: ten tabs on a graph of 100,000 tasks on Redis."""
from __future__ import annotations

import asyncio
import unittest

import redis as client

import worq
from test.queue.contract import message
from test.support import start_redis
from worq import web
from worq.web.feed import Topic

FANS, FAN = 100, 1_000
SECONDS = 8
MOST = 150   # ms a second of the server's processor; on a quiet machine less than 50


class Load(unittest.TestCase):

    def setUp(self):
        self.redis = self.enterContext(start_redis())
        self.client = self.enterContext(client.Redis.from_url(self.redis.url))
        self.broker = self.enterContext(worq.get_broker(self.redis.url, 'load'))
        backend = self.broker.backend
        for fan in range(FANS):
            ids = [f'{fan}-{n}' for n in range(FAN - 1)]
            backend.put([message(id, header=b'part.make') for id in ids])
            backend.put([message(f'sum{fan}', *ids, header=b'part.sum')])
        backend.put([message('all', *[f'sum{fan}' for fan in range(FANS)], header=b'all')])
        self.assertGreater(backend.size(), 100_000)
        self.app = web.app(self.broker, allow=lambda request: 'read')

    def spent(self):
        """Milliseconds that the server has computed, ever: others of the machine do not count."""
        used = self.client.info('cpu')
        return 1_000 * (used['used_cpu_user'] + used['used_cpu_sys'])

    def topics(self, number):
        """What a tab watches: the graph of a fan in the middle, a task, pages of tasks."""
        asked = [('overview', {}), ('pools', {}), ('names', {'hours': f'{number % 8 + 1}'}),
                 ('graph', {'id': f'sum{number}', 'down': f'{number}'}),
                 ('graph', {'id': f'{number}-7'}), ('task', {'id': f'sum{number}'}),
                 ('tasks', {'state': 'enqueued', 'name': f'none.{number}'}),
                 ('tasks', {'state': 'pending', 'order': 'oldest'})]
        return {f'{n}': Topic('load', kind, tuple(sorted(more.items())))
                for n, (kind, more) in enumerate(asked)}

    async def watch(self, number, told):
        """One tab: counts what it is told."""
        tab = self.app.state.feed.open(self.topics(number))
        try:
            async for event in tab.events():
                told[number] += event.startswith('data')
        finally:
            tab.close()

    async def measure(self):
        """What each second took from when ten tabs are opened, and what each was told."""
        told = [0] * 10
        tabs = [asyncio.create_task(self.watch(number, told)) for number in range(10)]
        seconds, before = [], self.spent()
        for _ in range(SECONDS):
            await asyncio.sleep(1)
            now = self.spent()
            seconds.append(now - before)
            before = now
        for tab in tabs:
            tab.cancel()
        await asyncio.gather(*tabs, return_exceptions=True)
        return seconds, told

    def test_ten_tabs(self):
        """Those that are opened at a time take no more of it than their share, from the first
        second on."""
        seconds, told = asyncio.run(self.measure())
        self.assertLess(sum(seconds) / SECONDS, MOST, seconds)
        self.assertGreater(min(told), 0)
