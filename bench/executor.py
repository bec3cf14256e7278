"""Run CPython's own tests of executors with those of `worq.local`.

::

    python bench/executor.py [TEST...]

The tests are those of the Python that runs this, 3.12 or newer, and have to be installed with it.
What does not hold there, and why, is listed in `DIFFERENT`; all else has to pass.
"""
from __future__ import annotations

from functools import partial
from pathlib import Path
import sys
import unittest

# At the end: `test` has to be the library's package, and not that of this project.
sys.path[:] = [path for path in sys.path if Path(path or '.').resolve() != Path(__file__).parent]
sys.path.append(str(Path(__file__).resolve().parents[1]))

from test.test_concurrent_futures import executor, test_as_completed, test_wait   # noqa: E402
from test.test_concurrent_futures import test_shutdown   # noqa: E402
from test.test_concurrent_futures.util import BaseTestCase, ExecutorMixin   # noqa: E402

from worq.executor import Executor   # noqa: E402

#: What differs from the executors of the standard library, by test.
DIFFERENT = {
    'test_map_exception': 'an exception arrives as a TaskFailure that tells it',
    'test_first_exception': 'as above',
    'test_max_workers_negative': 'the parameter is called workers',
    'test_no_stale_references': 'the function of a call is a copy, so a weak reference to it dies',
    'test_interpreter_shutdown': 'its program asks for an executor of the library by name',
    'test_submit_after_interpreter_shutdown': 'as above',
    'test_hang_gh83386': 'as above',
    'test_hang_gh94440': 'it is about how processes of multiprocessing start',
}


def made(threads: bool, max_workers: int | None = None, **options: object) -> Executor:
    """An executor, with the name of the library's parameter."""
    return Executor(max_workers, threads=threads, **options)   # type: ignore[arg-type]


class Threads(ExecutorMixin):
    executor_type = partial(made, True)


class Processes(ExecutorMixin):
    executor_type = partial(made, False)


def cases() -> list[type[unittest.TestCase]]:
    return [type(f'{kind.__name__}{tests.__name__}', (tests, kind, BaseTestCase), {})
            for kind in (Threads, Processes)
            for tests in (executor.ExecutorTest, test_wait.WaitTests,
                          test_as_completed.AsCompletedTests, test_shutdown.ExecutorShutdownTest)]


def main(only: list[str]) -> int:
    suite = unittest.TestSuite()
    for case in cases():
        for test in unittest.defaultTestLoader.loadTestsFromTestCase(case):
            name = test.id().rpartition('.')[2]
            if name in only or not only and name not in DIFFERENT:
                suite.addTest(test)
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    for name, why in DIFFERENT.items():
        print(f'{name}: {why}')
    return 0 if result.wasSuccessful() else 1


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
