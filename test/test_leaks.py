"""The leak checks notice what is left behind, and let pass what goes away in time."""
import os
import subprocess
import sys
import threading
import unittest

from test import leaks


def problems(act, settle=0.05):
    """What a watched test that does `act` complains of."""
    def run():
        leaks.watch(case, settle=settle)
        act()
    case = unittest.FunctionTestCase(run)
    result = unittest.TestResult()
    case.run(result)
    return ''.join(text for _, text in result.failures + result.errors)


def test_nothing_left():
    """A test that leaves nothing behind passes."""
    assert problems(lambda: None) == ''


def test_thread_left():
    """A thread that still runs after the test fails it."""
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name='stray')
    try:
        assert 'stray' in problems(thread.start)
    finally:
        stop.set()
        thread.join()


def test_thread_that_ends_in_time():
    """A thread that ends within the time to settle is no leak."""
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)

    def act():
        thread.start()
        threading.Timer(0.05, stop.set).start()
    assert problems(act, settle=10) == ''
    thread.join()


def test_child_left():
    """A child process that has not been waited for fails the test."""
    started = []

    def act():
        started.append(subprocess.Popen([sys.executable, '-c', 'input()'],
                                        stdin=subprocess.PIPE))
    try:
        assert 'children' in problems(act)
    finally:
        with started[0]:
            started[0].kill()


def test_descriptor_left():
    """A descriptor that is still open fails the test."""
    opened = []
    try:
        assert 'pipe:' in problems(lambda: opened.extend(os.pipe()))
    finally:
        for descriptor in opened:
            os.close(descriptor)
