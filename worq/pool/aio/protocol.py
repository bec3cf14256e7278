"""What a manager tells a child about one of the deliveries that run in it."""
from __future__ import annotations

from typing import Sequence

from worq.pool.children.frames import pack

__all__ = ['ABANDON', 'ORDER', 'pack_order', 'unpack_order']

ORDER = b'x'     # interrupt it
ABANDON = b'y'   # nobody waits for it any more


def pack_order(kind: bytes, token: bytes, word: str = '') -> bytes:
    """A frame for a child.

    :param word: why: 'cancelled' or 'timeout'.
    """
    return pack([kind, token, word.encode()])


def unpack_order(parts: Sequence[bytes]) -> tuple[bytes, str]:
    """The token and the word."""
    return parts[1], parts[2].decode()
