"""asyncio: Deferreds are awaited like futures, and tasks may be coroutines.

    python examples/coroutines.py

A thousand Deferreds that are awaited cost one thread in all, and no event loop is ever
blocked by it.
"""
import asyncio

import worq
from worq import TaskSpace, get_broker
from worq.pool.thread import WorkerPool

space = TaskSpace()


@space.task
async def greet(name):
    await asyncio.sleep(0.01)
    return f'hello {name}'


@space.task
def length(text):
    return len(text)


async def main():
    broker = get_broker('memory://')
    broker.expose(space)
    q = broker.queue()
    with WorkerPool(broker, workers=4):
        print(await q.greet('world'))
        lengths = worq.map(q.length, [q.greet('x' * number) for number in range(1000)])
        print(sum(await asyncio.gather(*lengths)))
        try:
            async with asyncio.timeout(0.1):
                await worq.Task(q.greet, delay=3600)('tomorrow')
        except TimeoutError:
            print('that would take too long')
        del q[:]


if __name__ == '__main__':
    asyncio.run(main())
