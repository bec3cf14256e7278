"""The leak checks notice what is left behind, and let pass what goes away in time."""
import os
import subprocess
import sys
import threading
import unittest

import redis

from test import leaks, support


def problems(act, *counters, settle=0.05):
    """What a watched test that does `act` complains of."""
    def run():
        leaks.watch(case, *counters, settle=settle)
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


def test_keys_left():
    """A key that would stay for ever fails the test; one that ends does not, nor does one
    that every queue keeps."""
    url, name = support.redis_url(), support.unique()
    prefix = f'worq:{{{name}}}:'
    with redis.Redis.from_url(url) as client:
        def act():
            client.set(prefix + 't:stray', 1)
            client.set(prefix + 't:ends', 1, ex=60)
            client.rpush(prefix + 'q:1', 'ready')
        try:
            told = problems(act, leaks.keys(url, name))
        finally:
            support.clean(url, name)
    assert 't:stray' in told and 't:ends' not in told and 'q:1' not in told, told
