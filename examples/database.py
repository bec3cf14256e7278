"""One pool of database connections for all tasks of a child process.

    python examples/database.py

Two hundred coroutines run at a time, and share four connections: the pool of event loops enters
`init` in its loop before the first task, and leaves it after the last. With asyncpg the line in it
is ``async with asyncpg.create_pool(DSN, max_size=4) as connections``; here a small class
stands for that, so that no server is needed.
"""
import asyncio
from contextlib import asynccontextmanager
import sqlite3

import worq
import worq.aio
from worq import TaskSpace, get_broker
from worq.pool.aio import WorkerPool

SIZE = 4
space = TaskSpace()


class Connections:
    """So many connections, which take turns."""

    def __init__(self, size):
        self.all = [sqlite3.connect(':memory:', check_same_thread=False) for _ in range(size)]
        self.free = asyncio.Queue()
        for number, connection in enumerate(self.all):
            connection.execute('CREATE TABLE here AS SELECT ? AS number', [number])
            self.free.put_nowait(connection)

    async def fetch(self, sql, *values):
        connection = await self.free.get()
        try:
            return await asyncio.to_thread(lambda: connection.execute(sql, values).fetchall())
        finally:
            self.free.put_nowait(connection)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc_info):
        for connection in self.all:
            connection.close()
        print('the connections are closed', flush=True)


@space.task
async def add(a, b):
    """The sum, and by which connection."""
    [row] = await connections.fetch('SELECT ? + ?, number FROM here', a, b)
    return row


@asynccontextmanager
async def init(url):
    """Make the broker of a child process, and what its tasks share."""
    global connections
    async with Connections(SIZE) as connections:
        broker = get_broker(url)
        broker.expose(space)
        yield broker


async def main(q):
    aq = worq.aio.Queue(q)
    calls = await asyncio.gather(*[aq.add(number, 1) for number in range(1000)])
    rows = await asyncio.gather(*calls)
    print(f'{sum(total for total, _ in rows)} by {len({used for _, used in rows})} connections')


if __name__ == '__main__':
    with get_broker('memory://') as broker, \
            WorkerPool(broker, init, workers=1, concurrency=200):
        asyncio.run(main(broker.queue()))
