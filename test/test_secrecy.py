"""What is secret is not shown: no part of a password, whatever is wrong with its address."""
from __future__ import annotations

import io
import logging
import traceback
import unittest
import warnings
from unittest import mock
from urllib.parse import quote, unquote

from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

import worq
from worq import trust
from worq.codec import Codec, Keyring
from worq.queue.redis import address, queue as redis

BEGIN, END = 'Zq7', 'x9W'   # of each password; neither may be seen anywhere
SECRET = BEGIN + ' and eleven more bytes ' + END

passwords = st.text(st.sampled_from('ab1/?#@:[]%&=+,;\\ .-_é\u2100\udc80'), max_size=8).map(
    lambda middle: BEGIN + middle + END)
#: % stands for the password. Each is a mistake, if only by what the password may hold.
shapes = st.sampled_from([
    '{scheme}://:%@{host}/0', '{scheme}://user:%@{host}:6379/0?timeout=9',
    '{scheme}://:%@{host}/x', '{scheme}://:%@{host}:port', '{scheme}://:%',
    '{scheme}://user:%', '{scheme}:/:%@{host}',
    '{scheme}//:%@{host}', '{scheme}:%@{host}', ':%@{host}', '%@{host}', '//:%@{host}',
    'user:%@{host}',
    '{scheme}://:%@{host}?colour=1', '{scheme}://:%@[{host}', '{scheme}:///:%@{host}',
    '{scheme}://@:%@{host}', '{scheme}:/user:%@{host}:6379/0', ' {scheme}://:%@{host}\n',
    '{scheme}://:%@{host}/0#part', '{scheme}://{host}?password=%', '{scheme}://{host}@:%',
    '{scheme}://{host}/service?sentinel_password=%&timeout=x', '%://{host}',
])
schemes = st.sampled_from(['redis', 'rediss', 'reddis', 'unix', 'redis+sentinel', 'rediss+cluster',
                           'http', 'Redis', 'memory', 'sqlite', 'Sqlite', 'rédis', ''])
hosts = st.sampled_from(['localhost', 'h', 'a..b', 'h:x', '::1', '[::1]', 'a,b', '', 'example.org'])
forms = st.sampled_from([str, quote, lambda text: quote(text, ''), unquote,
                         lambda text: quote(quote(text, ''), '')])


def everything_of(error: BaseException) -> str:
    """All texts of an error, and of those that it came from."""
    texts = []
    todo, seen = [error], set()
    while todo:
        one = todo.pop()
        if id(one) not in seen:
            seen.add(id(one))
            texts += [str(one), repr(one), repr(one.args), ascii(vars(one)),
                      *getattr(one, '__notes__', [])]
            todo += [other for other in (one.__cause__, one.__context__) if other is not None]
    return '\n'.join(texts)


def shown_by(url: object, **options: object) -> str:
    """All that is told by the attempt to make a broker, and by what has been made."""
    told = io.StringIO()
    handler = logging.StreamHandler(told)
    logging.getLogger().addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as warned, \
                mock.patch.object(trust, '_warned', False), \
                mock.patch.dict('os.environ', {'WORQ_SECRET': SECRET}):
            warnings.simplefilter('always')
            for make in (lambda: worq.get_broker(url, **options),   # type: ignore[arg-type]
                         lambda: redis.TaskQueue(url),   # type: ignore[arg-type]
                         lambda: address.parse(url),   # type: ignore[arg-type]
                         lambda: trust.keyring_for(url, environ={})):   # type: ignore[arg-type]
                try:
                    made = make()
                    told.write(f'{made!r} {made}')
                    if isinstance(made, worq.Broker):
                        told.write(f'{made.backend!r} {made.backend.safe_url} {made.queue()!r}'
                                   f'{made.inbox!r} {made.codec!r} {made.codec.keys!r}')
                        made.close()
                except (ValueError, TypeError, AttributeError) as error:
                    told.write(everything_of(error))
        told.write(''.join(str(one.message) for one in warned))
    finally:
        logging.getLogger().removeHandler(handler)
    return told.getvalue()


@settings(deadline=None, max_examples=250, database=None,
          suppress_health_check=[HealthCheck.too_slow])
@given(passwords, shapes, schemes, hosts, forms)
@example(BEGIN + '/' + END, '{scheme}://:%@{host}/0', 'redis', 'localhost', str)
@example(BEGIN + '?' + END, '{scheme}://:%@{host}/0', 'redis', 'localhost', str)
@example(BEGIN + '#' + END, '{scheme}://:%@{host}/0', 'redis', 'localhost', str)
@example(BEGIN + '\u2100' + END, '{scheme}://:%@{host}/0', 'redis', 'localhost', str)
@example(BEGIN + '@' + END, '{scheme}://:%@{host}/0', 'redis', 'localhost', quote)
@example(BEGIN + '\udc80' + END, '{scheme}:///:%@{host}', 'sqlite', 'localhost', str)
@example(BEGIN, '{scheme}://:%@{host}/0', 'reddis', 'localhost', str)
@example(BEGIN, '{scheme}://:%@{host}/0', 'redis', '[::1', str)
@example(f'{BEGIN}&{END}', '{scheme}://{host}/service?sentinel_password=%&timeout=x',
         'redis+sentinel', 'h', str)
@example(f'{BEGIN}&timeout={END}', '{scheme}://{host}/service?sentinel_password=%',
         'redis+sentinel', 'h', str)
def test_password(password: str, shape: str, scheme: str, host: str,
                  form: type[str]) -> None:
    """No part of the password of an address is in any text, whatever is wrong with the address."""
    try:
        given = form(password)
    except UnicodeEncodeError:   # a surrogate cannot be escaped
        given = password
    # Without an @ of its own the one of the password is it: that address is as it should be.
    assume('@' not in given or '%@' in shape)
    url = shape.format(scheme=scheme, host=host).replace('%', given)
    shown = shown_by(url)
    assert BEGIN not in shown and END not in shown, (url, shown)
    assert BEGIN not in shown_by(url.encode('utf-8', 'surrogatepass'))


class Secrecy(unittest.TestCase):

    def test_still_of_use(self) -> None:
        """What is wrong is quoted where no password can be in it, and the address is shown."""
        for url, texts in [
                ('reddis://:pw@example.org:1/0', ['reddis://example.org:1/0']),
                ('redis://h/x', ["'x'", "'redis://h/x'"]),
                ('redis://h?colour=1', ["'colour'"]),
                ('redis://:pw@h?timeout=soon', ["'soon'", "'redis://h'"]),
                ('redis://:p/w@h', ['%2F', "'redis://...'"]),
                ('redis://u:12#34@h', ['%23', "'redis://...'"])]:
            with self.assertRaises(ValueError) as caught:
                worq.get_broker(url, secret=SECRET)
            for text in texts:
                self.assertIn(text, str(caught.exception))
            self.assertNotIn('pw', str(caught.exception))
        for url, shown in [
                ('redis://u:p%2F@h:1/2?timeout=9', 'redis://h:1/2'),
                ('redis+sentinel://a,[::1]:2/s?sentinel_password=p%40', 'redis+sentinel://a,[::1]:2/s'),
                ('unix://:p@/run/redis.sock?db=1', 'unix:///run/redis.sock'), ('memory://', 'memory://')]:
            self.assertEqual(trust.without_password(url), shown)

    def test_scheme(self) -> None:
        """What stands for a scheme is shown if it is at most two letters off in its length."""
        for scheme, like in [('memory', True), ('redi', True), ('rediss+unx', True),
                             ('redisred', True), ('redisredi', False), ('re', False)]:
            self.assertIs(trust.resembles_scheme(scheme), like, scheme)

    def test_secrets(self) -> None:
        """A secret is in no error about it and in nothing that shows what was made of it."""
        for secret in [SECRET, SECRET.encode(), [SECRET, BEGIN], [SECRET, 5], BEGIN,
                       SECRET + '\ud800', SECRET + '\udc80', [SECRET + '\ud800', END], [[SECRET]]]:
            for url in ['redis://localhost', 'memory://', 'redis://example.org', 'http://x']:
                shown = shown_by(url, secret=secret)
                self.assertNotIn(BEGIN, shown)
                self.assertNotIn(END, shown)
        keys = Keyring([SECRET])
        with self.assertRaises(ZeroDivisionError) as caught:   # a debugger, say, shows such things
            keys.signs.derived[1 // 0]
        shown = repr([keys, keys.signs, Codec('q', keys=keys), vars(keys)]) + ''.join(
            traceback.format_exception(caught.exception))
        for derived in keys.signs.derived.values():
            self.assertNotIn(repr(derived), shown)

    def test_bytes_of_the_environment(self) -> None:
        """A secret that is no UTF-8 is the bytes that the environment has."""
        raw = b'\xff\x80' * 10
        text = raw.decode('utf-8', 'surrogateescape')
        self.assertEqual(Keyring([text]).signs, Keyring([raw]).signs)
