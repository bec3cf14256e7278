"""Whose messages are believed: secrets, the keys derived from them, and where they come from.

A pickle can run any code when it is loaded, so whoever may write to the Redis of a queue could
run code in every worker and reader of it. Hence messages are signed, and what is not signed by
somebody who knows the secret is never unpickled. This module finds the secret and
makes keys of it; ``worq.codec`` signs and verifies.

======================== =======================================================
address                  secret, unless ``secret=`` is given
======================== =======================================================
``memory://``            none is needed: nothing leaves the process and its children
loopback, unix socket,   ``WORQ_SECRET``, else the user's key file, made when missing
a file of this user
a file that others own   ``WORQ_SECRET``, else an error that says how to set it
or may write
any other host           ``WORQ_SECRET``, else an error that says how to set it
``secret=UNSIGNED``      none: anything in the queue is believed, after one warning
======================== =======================================================
"""
from __future__ import annotations

import enum
import hashlib
import hmac
import ipaddress
import os
import re
import stat
import warnings
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import SplitResult, parse_qs, urlsplit

__all__ = ['UNSIGNED', 'Unsigned', 'Key', 'Keyring', 'Secrets', 'hmac_halves', 'keyring_for']

#: kinds of what is signed: the body of a task, its value, its failure, the memo of a retry; and
#: that a tail call or an argument leads to another task, see ``worq.seals``
CALL, VALUE, FAILURE, MEMO, TAIL, ARGUMENT = KINDS = b'cvfmta'

VARIABLE = 'WORQ_SECRET'
SHORTEST = 16  #: bytes of a secret; fewer could be found by trying
MAKE_ONE = 'python -c "import secrets; print(secrets.token_hex(32))"'


class Unsigned(enum.Enum):
    """The type of `UNSIGNED`. (An enumeration, so that it is one object after a pickle too.)"""

    UNSIGNED = 'UNSIGNED'

    def __repr__(self) -> str:
        return 'worq.UNSIGNED'


UNSIGNED: Final = Unsigned.UNSIGNED

Secret = bytes | str
Secrets = Secret | Iterable[Secret] | Unsigned


class Key(NamedTuple):
    """What one secret signs with."""

    id: bytes                  #: 4 bytes, never zero; readable in every message
    derived: dict[int, bytes]  #: by kind of message, so that no kind passes for another

    def __repr__(self) -> str:
        return f'<Key {self.id.hex()}>'


class Keyring:
    """The secrets of a broker: the first signs, all of them verify.

    To change a secret while everything runs: add the new one behind the old one everywhere,
    then put it first everywhere, then take the old one away.

    :param secrets: text or bytes, at least 16 bytes each, in order.
    :param place: where the queues are; what is signed for one place does not verify in another.
    :raises ValueError: if there is none, or one is too short.
    """

    def __init__(self, secrets: Iterable[Secret], place: str = '') -> None:
        keys = [derive(secret, place) for secret in secrets]
        if not keys:
            raise ValueError('a keyring needs at least one secret')
        self.signs = keys[0]
        self._keys = {key.id: key for key in reversed(keys)}

    def __repr__(self) -> str:
        return f'<Keyring signs {self.signs.id.hex()}, verifies {len(self._keys)}>'

    def find(self, key_id: bytes) -> Key | None:
        """The key that messages with this key id are to be verified with."""
        return self._keys.get(key_id)


def derive(secret: Secret, place: str = '') -> Key:
    """Make the keys of a secret: HKDF (RFC 5869) with SHA-256, one `info` for each purpose.

    The secret should be random. HKDF does not stretch, so a passphrase of ordinary words can
    be found by whoever sees one signed message.
    """
    if not isinstance(secret, (str, bytes)):
        raise TypeError(f'a secret is text or bytes, not {type(secret).__name__}')
    # What the environment has, and is no UTF-8, are surrogates: the bytes again. Others are
    # encoded somehow, for an error that tells of them would hold the secret.
    material = secret if isinstance(secret, bytes) else b''.join(
        char.encode('utf-8', 'surrogateescape' if '\udc80' <= char <= '\udcff'
                    else 'surrogatepass') for char in secret)
    if len(material) < SHORTEST:
        raise ValueError(f'a secret has {len(material)} bytes, and needs {SHORTEST} at least. '
                         f'Make one with: {MAKE_ONE}')
    extracted = hmac.digest(b'worq', material, 'sha256')

    def expand(info: bytes) -> bytes:  # one block of HKDF-Expand is all that is needed
        return hmac.digest(extracted, info + b'\x01', 'sha256')

    key_id = expand(b'worq key id')[:4]
    if not any(key_id):  # zero means unsigned
        key_id = b'\x00\x00\x00\x01'
    return Key(key_id, {kind: expand(b'worq message %c%b' % (kind, place.encode()))
                        for kind in KINDS})


@lru_cache(maxsize=64)
def hmac_halves(key: bytes) -> tuple[hashlib._Hash, hashlib._Hash]:
    """The two hashes of an HMAC, at the point where what depends on nothing but the key is done.

    To copy them saves two thirds of what hmac.digest takes for a short message: most of that
    goes into setting up, each time anew.
    """
    key = key.ljust(64, b'\0')   # the block of SHA-256; no key of ours is longer
    return (hashlib.sha256(bytes(byte ^ 0x36 for byte in key)),
            hashlib.sha256(bytes(byte ^ 0x5c for byte in key)))


def keyring_for(url: str, secret: Secrets | None = None,
                environ: Mapping[str, str] = os.environ, place: str = '',
                shared: bool = False) -> Keyring | None:
    """The keyring for the queues at an address, by the table above.

    :param secret: text or bytes; or several of them, of which the first signs; or
        `UNSIGNED`. It counts before ``WORQ_SECRET``, which separates several by commas.
    :param environ: where ``WORQ_SECRET``, ``XDG_STATE_HOME`` and ``HOME`` are looked up.
    :param place: see `Keyring`.
    :param shared: whether other users of this machine may write there, who have another key file.
    :returns: None if messages are not to be signed.
    :raises ValueError: if no secret can be had, saying what to do.
    """
    memory = url.startswith('memory:')
    if isinstance(secret, Unsigned):
        if not memory:
            warn_once(url)
        return None
    if secret is not None:
        keys = Keyring(secret if isinstance(secret, Iterable)
                       and not isinstance(secret, (str, bytes)) else [secret], place)
        return None if memory else keys   # a bad one is told also where it is of no use
    if memory:
        return None
    given = [part.strip() for part in environ.get(VARIABLE, '').split(',')]
    if any(given):
        return Keyring((part for part in given if part), place)
    if is_local(url) and not shared:
        return Keyring([read_key_file(key_path(environ))], place)
    whose = 'is another machine' if not shared else \
        'belongs to another user, or can be written by others'
    raise ValueError(
        f'{without_password(url)} {whose}, so its messages must be signed.\n'
        f'Set {VARIABLE} (or secret=) to the same secret wherever this queue is used; '
        f'make one with: {MAKE_ONE}\n'
        f'If whoever can write there may run code here, opt out: secret=worq.UNSIGNED')


_warned = False


def warn_once(url: str) -> None:
    """Warn the caller of ``get_broker``, the first time in this process."""
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(f'messages of {without_password(url)} are not verified: whoever can '
                      'write there can run code here (secret=worq.UNSIGNED)', stacklevel=4)


# -- addresses ----------------------------------------------------------------------


def split(url: str) -> SplitResult | None:
    """The parts of an address; None if it has none that can be told.

    (An error of the standard library would quote it.)
    """
    try:
        return urlsplit(url)
    except ValueError:
        return None


def is_local(url: str) -> bool:
    """Whether an address is this machine, as far as its text says; in doubt it is not."""
    parts = split(url)
    if parts is None:
        return False
    if parts.scheme in ('unix', 'sqlite'):
        return True
    hosts = [without_port(host) for host in parts.netloc.rpartition('@')[2].split(',')]
    if hosts == ['']:  # then Redis clients read it from the query
        hosts = parse_qs(parts.query).get('host', ['localhost'])
    return all(is_loopback(host) for host in hosts)


def is_loopback(host: str) -> bool:
    """Whether a host is a loopback address, or named localhost. No name is resolved."""
    if host.lower() == 'localhost':
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def without_port(host: str) -> str:
    """The host of ``host:port``, ``[v6]:port`` or a bare IPv6 address."""
    if host.startswith('['):
        return host[1:].partition(']')[0]
    return host if host.count(':') > 1 else host.partition(':')[0]


PARTS = 'memory', 'sqlite', 'redis', 'rediss', 'unix', 'sentinel', 'cluster'   # of schemes
HIDDEN = '...'   #: stands for the rest of an address that may not be shown
SCHEME = re.compile(r'([A-Za-z][A-Za-z0-9+.-]*)://')
HOST = r'(?:[\w.-]*|\[[\da-fA-F]*:[\w.:%]*\])(?::\d*)?'
HOSTS = re.compile(rf'{HOST}(?:,{HOST})*')
PATH = re.compile(r'(?:[^@:%?#\\]|%20)*')
OPTION = re.compile(r'(?:db|timeout|durable|sentinel_\w+|ssl_\w+)=[^@]*|[^@%]*')


def without_password(url: str) -> str:
    """An address that may be shown and logged: without user, password and options.

    A password with a special character that is not escaped ends somewhere in the other parts,
    and of an address with a mistake in it nobody knows which part is what. So only what
    looks as it should is shown, and `HIDDEN` stands for the rest.
    """
    match, parts = SCHEME.match(url), split(url)
    if match is None or parts is None:
        return HIDDEN
    hosts = parts.netloc.rpartition('@')[2]
    start = f'{match[1].lower()}://' if resembles_scheme(match[1].lower()) else ''
    whole = HOSTS.fullmatch(hosts) and PATH.fullmatch(parts.path) \
        and all(map(OPTION.fullmatch, parts.query.split('&'))) and not parts.fragment
    return f'{start}{hosts}{parts.path}' if start and whole else start + HIDDEN


def resembles_scheme(scheme: str) -> bool:
    """Whether this is the scheme of an address, perhaps mistyped."""
    return all(any(abs(len(part) - len(one)) <= 2 and len({*one} - {*part}) <= 1 for one in PARTS)
               for part in scheme.split('+'))


# -- the key file --------------------------------------------------------------------


def key_path(environ: Mapping[str, str]) -> str:
    """Where the key of this user is kept.

    :raises ValueError: if the environment does not say where the user's files are.
    """
    state = environ.get('XDG_STATE_HOME', '')
    if not os.path.isabs(state):  # the XDG rules: a relative one is to be ignored
        home = environ.get('HOME', '')
        if not os.path.isabs(home):
            raise ValueError('there is no place for a key to sign messages with, for HOME is '
                             f'not set. Set HOME, or {VARIABLE}; make one with: {MAKE_ONE}')
        state = os.path.join(home, '.local', 'state')
    return os.path.join(state, 'worq', 'key')


def read_key_file(path: str) -> bytes:
    """The secret in a user's key file, which is made if there is none.

    :raises ValueError: if it cannot be made or read, is not ours, is not ours alone, or
        is damaged.
    """
    try:
        try:
            check_key_folder(os.path.dirname(path))
            return open_key_file(path)
        except FileNotFoundError:
            make_key_file(path)
            check_key_folder(os.path.dirname(path))
            return open_key_file(path)
    except OSError as err:
        raise ValueError(f'the key to sign messages with cannot be kept in {path}: '
                         f'{err.strerror}. Make that possible, or set {VARIABLE}; '
                         f'make one with: {MAKE_ONE}') from err


def check_key_folder(folder: str) -> None:
    """Nobody else may put another key in the place of ours.

    A link is followed, to the folder that counts. In a folder that only we can write, links are
    our own, and so is a key that is one; whoever can write above it can move the
    folder away, but what they put there is theirs, and refused for that.
    """
    status = os.stat(folder)
    if status.st_uid not in (os.geteuid(), 0):
        raise ValueError(f'{folder} belongs to user {status.st_uid}, who could exchange the key of '
                         f'user {os.geteuid()} who runs this: set XDG_STATE_HOME to a folder of '
                         f'your own, or {VARIABLE}')
    if status.st_mode & 0o022:
        raise ValueError(f'{folder} can be written by others, who could exchange the key in it. If '
                         f'you trust that key: chmod 700 {folder}. Else remove both for a new '
                         f'one to be made, or set {VARIABLE}')


def open_key_file(path: str) -> bytes:
    """Read the file, having asked the open file itself (not its name) whose it is."""
    # O_NONBLOCK: a FIFO in this place must not hang us.
    with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), 'rb') as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f'{path} is not a file: remove it, or set {VARIABLE}')
        if status.st_uid != os.geteuid():
            raise ValueError(f'{path} belongs to user {status.st_uid}, not to user '
                             f'{os.geteuid()} who runs this: set {VARIABLE} for both')
        if status.st_mode & 0o077:
            raise ValueError(f'{path} can be read or written by others. Remove it for '
                             'a new one to be made, or if you trust it: chmod 600 ' + path)
        secret = file.read(4096).strip()
    if len(secret) < SHORTEST:
        raise ValueError(f'{path} is damaged: remove it, and a new one is made')
    return secret


def make_key_file(path: str) -> None:
    """Make the file with a new secret, unless another process makes it first.

    It is written under a name of its own and then linked into place. A link fails if the
    name is taken, so all processes agree on one secret, and nobody ever reads half of it;
    a process that dies in between leaves no damaged key behind.
    """
    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    import secrets as randomness   # for the one call in the life of a key file
    draft = f'{path}.{randomness.token_hex(8)}'
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with open(os.open(draft, flags, 0o600), 'w', encoding='ascii') as file:
        try:
            file.write(randomness.token_hex(32) + '\n')
            file.flush()
            os.fsync(file.fileno())
            os.link(draft, path)
        except FileExistsError:
            pass  # somebody was faster: theirs is the key
        finally:
            os.unlink(draft)
