"""Commands for Redis as bytes, by hiredis if it is there.

hiredis asks Python for the text of a number, and does not look whether it got one. It gets none
if a signal handler raises at that moment, as Ctrl-C does, nor of a number with thousands of
digits. Then the interpreter crashes. So it is given texts and bytes only, here and by redis-py.
"""
from __future__ import annotations

from typing import Any, Sequence

from redis.connection import AbstractConnection

try:
    from hiredis import pack_command
except ImportError:   # there is none, or one before 2.1
    pack_command = None   # type: ignore[assignment]

__all__ = ['options', 'pack']

TEXTS = frozenset((str, bytes))


def plain(command: tuple[Any, ...]) -> tuple[Any, ...]:
    """A command with its numbers as texts; what else it has is for redis-py to judge."""
    if TEXTS.issuperset(map(type, command)):
        return command
    return tuple(str(part) if type(part) is int
                 else float.__repr__(part) if isinstance(part, float) else part
                 for part in command)


def pack(connection: AbstractConnection, command: tuple[Any, ...]) -> Sequence[bytes]:
    """A command as it is sent. redis-py would look at each of its parts before and after hiredis
    does, which takes three times as long."""
    if pack_command is not None:
        try:
            return (pack_command(plain(command)),)
        except TypeError:   # redis-py knows more types, and says which it does not
            pass
    packed: Sequence[bytes] = connection.pack_command(*command)
    return packed


options: dict[str, Any] = {}   # of a connection, for what redis-py sends by itself

try:
    from redis.driver_info import DriverInfo
except ImportError:   # older ones look it up once
    pass
else:
    # Each connection would look through all installed packages for the version of redis-py, and
    # finalizers of zip files in the path swallow a Ctrl-C that comes meanwhile.
    options['driver_info'] = DriverInfo()

if pack_command is not None:
    from redis.connection import HiredisRespSerializer

    class Packer(HiredisRespSerializer):
        """What redis-py packs commands with; it sends some when it connects, numbers in them."""

        def pack(self, *args: Any) -> Any:
            return super().pack(*plain(args))

    options['command_packer'] = Packer()
