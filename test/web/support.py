"""A queue with some of everything, and the page of it."""
from __future__ import annotations

import asyncio
import json
import os
import unittest

import httpx

import worq
from worq import web
from worq.queue.memory import TaskQueue

try:   # its first loop in a process opens a pipe for good, which no test has left behind then
    import uvloop
except ImportError:
    pass
else:
    uvloop.new_event_loop().close()

OURS = {'X-WorQ': '1', 'Sec-Fetch-Site': 'same-origin'}


class Client:
    """Asks an application, without a network."""

    def __init__(self, app):
        self.app = app

    def request(self, method, path, **more):
        async def ask():
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url='http://page') as client:
                return await client.request(method, path, **more)
        return asyncio.run(ask())

    def get(self, path, **more):
        return self.request('GET', path, **more)

    def post(self, path, **more):
        return self.request('POST', path, **more)


class PageCase(unittest.TestCase):
    """The page of a queue in memory, asked without a network."""

    rights = 'act'

    def setUp(self):
        self.name = f'web-{os.urandom(6).hex()}'
        self.broker = worq.get_broker('memory://', self.name)
        self.addCleanup(self.broker.close)
        self.addCleanup(TaskQueue._opened.pop, ('memory://', self.name), None)
        self.q = self.broker.queue()
        self.app = web.app(self.broker, allow=self.allow, who=lambda request: 'ann')
        self.client = Client(self.app)

    def allow(self, request):
        return self.rights

    def get(self, path, status=200, **headers):
        """What is answered, read as JSON."""
        answer = self.client.get(path, headers=headers)
        self.assertEqual(answer.status_code, status, answer.text)
        return answer.json()

    def ask(self, path):
        """The value of a question."""
        return self.get(f'/api/{path}')['value']

    def act(self, what, status=200, headers=OURS, **asked):
        """Do something; what is answered."""
        answer = self.client.post(f'/api/act/{what}', content=json.dumps(asked), headers=headers)
        self.assertEqual(answer.status_code, status, answer.text)
        return answer.json()
