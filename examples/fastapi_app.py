"""FastAPI: a request puts a task and answers at once; others ask how far it has come.

    pip install fastapi uvicorn
    export WORQ_URL=sqlite:////tmp/reports.db     # or redis://localhost:6379/0
    python examples/fastapi_app.py &              # the pool, a process of its own
    uvicorn --app-dir examples fastapi_app:app    # the server, in any number of processes

    curl -i -X POST 'localhost:8000/reports?rows=50'    # 202, with the report's address
    curl localhost:8000/reports/ID                      # 202 while it is being made, then 200
    curl -N localhost:8000/reports/ID/events            # its progress, as it comes

Nothing here holds the server's loop up, whatever the queue does.
"""
import asyncio
from contextlib import asynccontextmanager
import json
import os
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import StreamingResponse

import worq.aio
from worq import Deferred, TaskFailure, TaskSpace, current_task, get_broker
from worq.pool.aio import WorkerPool

URL = os.environ.get('WORQ_URL', 'redis://localhost:6379/0')

# -- the tasks, and the pool that runs them --

space = TaskSpace()


@space.task
async def report(rows):
    """Make a report."""
    for row in range(rows):
        current_task().progress(row, rows)
        await asyncio.sleep(0.1)   # for a database, say
    return {'rows': rows}


def init(url):
    """Make the broker of a child process."""
    broker = get_broker(url)
    broker.expose(space)
    return broker


# -- the server --

@asynccontextmanager
async def lifespan(app):
    """One broker for the life of the server, which is closed at its end."""
    app.state.broker = get_broker(URL)
    async with worq.aio.Queue(app.state.broker.queue()) as app.state.tasks:
        yield


app = FastAPI(lifespan=lifespan)


def tasks(request: Request) -> worq.aio.Queue:
    """For what puts tasks."""
    return request.app.state.tasks


def found(request: Request, id: str) -> Deferred:
    """For what asks for one."""
    return request.app.state.broker.deferred(id)


@app.post('/reports', status_code=202)
async def order(rows: int, tasks: Annotated[worq.aio.Queue, Depends(tasks)],
                response: Response):
    """Order a report; the answer does not wait for it."""
    deferred = await tasks.report(rows)
    response.headers['Location'] = f'/reports/{deferred.id}'
    return {'id': deferred.id}


@app.get('/reports/{id}')
async def get(deferred: Annotated[Deferred, Depends(found)], response: Response):
    """The report, if it is there; else how it stands with it."""
    status = await asyncio.to_thread(lambda: deferred.status)
    if status == 'unknown':
        raise HTTPException(404, 'there is no such report, or not any more')
    if not deferred.has_value():
        response.status_code = 202
        return {'status': status}
    try:
        return {'status': status, 'report': await deferred}
    except TaskFailure as failure:
        raise HTTPException(500, failure.error) from None


@app.get('/reports/{id}/events')
async def events(deferred: Annotated[Deferred, Depends(found)]):
    """Its progress, as server-sent events; the last one tells how it ended."""
    async def lines():
        async for progress in deferred.watch():
            yield event('progress', progress._asdict())
        yield event('end', {'status': deferred.status})
    return StreamingResponse(lines(), media_type='text/event-stream')


def event(name, data):
    return f'event: {name}\ndata: {json.dumps(data)}\n\n'


if __name__ == '__main__':
    WorkerPool(get_broker(URL), init, workers=1, concurrency=100).start()
