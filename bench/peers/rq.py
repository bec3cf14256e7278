"""RQ: ``rq worker``, with a new process for each job (its default) or the SimpleWorker that
its documentation offers for speed. Results live in streams, which can be waited for."""
from __future__ import annotations

from typing import Any

from redis import Redis
from rq import Queue, get_current_job

from bench.peers.base import LIMIT, Calls, Peer, script
from bench.peers.tasks import TASKS


def gather() -> int:
    """The end of a fan-in: the sum of what this job's dependencies returned."""
    return TASKS['total']([job.return_value() for job in get_current_job().fetch_dependencies()])


class Adapter(Peer):
    bulk = True
    one_each = True

    def __init__(self, name: str, url: str, fork: bool = False) -> None:
        super().__init__(name, url)
        self.fork = fork
        self.worker_pid = int(fork)
        self.pace = 50 if fork else 200
        self.connection = Redis.from_url(url, socket_timeout=None)  # it blocks for results
        self.queue = Queue('bench', connection=self.connection)

    def commands(self, processes: int, slots: int | None, mixed: bool) -> list[list[str]]:
        command = [script('rq'), 'worker', '--url', self.url, '--logging_level', 'WARNING']
        if not self.fork:
            command += ['--worker-class', 'rq.SimpleWorker']
        return [[*command, 'bench'] for _ in range(processes)]

    def disconnect(self) -> None:
        self.connection.close()

    def put(self, task: str, *args: Any) -> Any:
        return self.queue.enqueue(TASKS[task], *args)

    def put_bulk(self, task: str, calls: Calls) -> list[Any]:
        function = TASKS[task]
        return self.queue.enqueue_many([Queue.prepare_data(function, args) for args in calls])

    def get(self, handle: Any, timeout: float = LIMIT) -> Any:
        result = handle.latest_result(timeout=max(1, int(timeout)))
        if result is None:
            raise TimeoutError(handle.id)
        if result.type != result.Type.SUCCESSFUL:
            raise RuntimeError(result.exc_string)
        return result.return_value

    def fan_in(self, number: int, timeout: float = LIMIT) -> int:
        jobs = self.put_bulk('echo', [(n,) for n in range(number)])
        return self.get(self.queue.enqueue(gather, depends_on=jobs), timeout)
