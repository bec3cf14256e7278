"""The exceptions: each can be pickled and copied, with equal fields."""
from __future__ import annotations

import copy
import importlib
import pickle
import pkgutil
import unittest

import worq
from worq import errors
from worq.codec import UnknownKey

#: How to make each, with other arguments than the defaults.
FAILURE = 'mod.func', 'queue', 'id', 'ValueError: x', 'a traceback'
MAKERS = {
    **{kind: lambda kind=kind: kind(*FAILURE) for kind in (
        errors.TaskFailure, errors.TaskExpired, errors.TaskCancelled, errors.TaskTimeout,
        errors.DuplicateTask)},
    errors.Retry: lambda: errors.Retry(2.5, 'too early'),
}


def kinds():
    """Every exception of WorQ that its users may meet."""
    for module in pkgutil.walk_packages(worq.__path__, 'worq.'):
        importlib.import_module(module.name)
    found = [errors.WorqError, errors.Cancelled]
    for kind in found:
        found += kind.__subclasses__()
    return [kind for kind in found if kind.__module__.startswith('worq.')]


class Again(errors.Retry):
    def __init__(self, code, *, url):
        super().__init__(2.5, f'{url}: {code}')
        self.code = code


class Failed(errors.TaskFailure):
    def __init__(self, code, *, url):
        super().__init__(url, 'queue', 'id', f'error {code}', 'a traceback')


class Unreachable(errors.QueueError):
    def __init__(self, code, *, url):
        super().__init__(f'{url}: {code}')
        self.url = url


class Copies(unittest.TestCase):

    def copies(self, error):
        yield copy.copy(error)
        yield copy.deepcopy(error)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            yield pickle.loads(pickle.dumps(error, protocol))

    def test_every_exception(self):
        """It comes back with its type, text, fields and notes."""
        found = kinds()
        self.assertIn(errors.UntrustedMessage, found)
        for kind in found:
            error = MAKERS.get(kind, lambda kind=kind: kind('something'))()
            error.add_note('a note')
            for other in self.copies(error):
                with self.subTest(kind):
                    self.assertIs(type(other), kind)
                    self.assertEqual(str(other), str(error))
                    self.assertEqual(other.args, error.args)
                    self.assertEqual(vars(other), vars(error))

    def test_fields(self):
        """What is no argument of its own is kept as well."""
        retry = pickle.loads(pickle.dumps(errors.Retry(2.5, 'too early')))
        self.assertEqual((retry.delay, str(retry)), (2.5, 'too early'))
        retry = copy.copy(errors.Retry())
        self.assertEqual((retry.delay, str(retry)), (None, 'it asked to be run again'))
        self.assertTrue(pickle.loads(pickle.dumps(UnknownKey('x'))).unknown_key)
        self.assertEqual(copy.copy(errors.TaskFailure(*FAILURE)).traceback, 'a traceback')

    def test_subclasses(self):
        """One of a program's own comes back as well, whatever it is made with."""
        again, failure = Again(7, url='a'), Failed(7, url='b')
        for error in again, failure, Unreachable(7, url='c'):
            for other in self.copies(error):
                with self.subTest(type(error)):
                    self.assertIs(type(other), type(error))
                    self.assertEqual((str(other), other.args, vars(other)),
                                     (str(error), error.args, vars(error)))
        self.assertEqual(copy.copy(again).delay, 2.5)
        self.assertEqual(copy.copy(failure), failure)

    def test_notes_are_no_part_of_the_value(self):
        """A failure with a note equals the same one without, and has the same text."""
        one, other = errors.TaskFailure(*FAILURE), errors.TaskFailure(*FAILURE)
        one.add_note('a note')
        self.assertEqual((one, str(one)), (other, str(other)))
