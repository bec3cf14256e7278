"""A pool, run as a program of its own, as a user would: ``pool_script.py '{JSON}'``."""
from __future__ import annotations

import json
import logging
import sys
from typing import Any

from bench.faults import journal, tasks, timed
from worq.pool import base
from worq.pool.process import pool as process
from worq.pool.thread import pool as thread


def main(url: str, name: str, workers: int = 2, kind: str = 'process', grace: float = 10,
         host: str = '', deploy: str = '', skew: float = 0.0) -> None:
    """Run until SIGTERM.

    :param kind: 'process' or 'thread'.
    :param host: a name of a machine to pretend to be on: then nobody can look whether
        this process is alive, as nobody could if it were elsewhere.
    :param deploy: it has the tasks of `bench.faults.timed`, in this version.
    :param skew: seconds by which the clock of this machine is wrong, as far as it can see.
    """
    if host:
        truth = base.describe
        base.describe = lambda *args: {**truth(*args), 'host': host, 'boot': host}
    if skew:
        timed.askew(skew)
    init, arguments = tasks.init, (name,)
    broker = timed.expose(url, name, deploy) if deploy else tasks.expose(url, name)
    if deploy:
        init, arguments = timed.init, (name, deploy, skew)
    if kind == 'process':
        process.WorkerPool(broker, init, arguments, workers=workers, grace=grace).start()
        return
    import signal
    pool = thread.WorkerPool(broker, workers=workers)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    with pool:
        tasks.write(journal.READY, detail='threads')
        signal.sigwait([signal.SIGTERM])


if __name__ == '__main__':
    logging.basicConfig(format='%(asctime)s %(process)d %(levelname)s %(message)s',
                        level=logging.INFO)
    options: dict[str, Any] = json.loads(sys.argv[1])
    main(**options)
