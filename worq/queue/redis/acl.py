"""What a user of a Redis server may not do, in words: who, which command, and the rule to grant.

Inside of scripts Redis 6.2 and 7.0 say that something was denied, and not what. Then the script
`rights` tries each command that scripts use.
"""
from __future__ import annotations

import re
from typing import Sequence

__all__ = ['advice', 'is_denial', 'is_vague']

DENIAL = re.compile(r"NOPERM|no permissions|executing the script can't|ACL failure in script", re.I)
KEYS = re.compile(r'\bkeys?\b|\bchannels?\b', re.I)
WHOLE = {'script': 'script|load'}   # Redis 6.2 names no subcommand
COMMAND = re.compile(r"run the '([\w|]+)' command")


def is_denial(text: str) -> bool:
    """Whether this is what a server says to a user who has too few rights."""
    return DENIAL.search(text) is not None


def is_vague(text: str) -> bool:
    """Whether it is such a text, and does not name what it is that the user may not do."""
    return is_denial(text) and COMMAND.search(text) is None and not KEYS.search(text)


def advice(user: str, prefix: str, text: str, commands: Sequence[str] = ()) -> str:
    """What a user lacks, and what to do.

    :param prefix: of the keys that are needed.
    :param text: what the server said.
    :param commands: that it does not name, and which are denied.
    """
    named = [WHOLE.get(name, name) for name in COMMAND.findall(text.lower())] \
        or [command.lower() for command in commands]
    if named:
        what = f'run {", ".join(name.upper().replace("|", " ") for name in named)}'
        rules = ' '.join(f'+{name}' for name in named)
    elif KEYS.search(text):
        what, rules = f'use the keys {prefix}*', f'~{prefix}*'
    else:
        what, rules = 'run a command that WorQ needs', '+COMMAND for each that it lacks'
    return (f'the user {user!r} may not {what}. Grant it: ACL SETUSER {user} {rules}; all that '
            'WorQ needs is in its page on Redis')
