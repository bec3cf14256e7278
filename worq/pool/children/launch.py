"""How a child is started, as a program of its own."""
from __future__ import annotations

import os
from pathlib import Path
import subprocess
import sys
from typing import Any

from worq import streams

__all__ = ['CHILD', 'start_child']

ROOT = str(Path(__file__).resolve().parents[3])


# Nothing is looked for before it has this process's own path: neither WorQ nor a module of the
# program is another one there, whatever flags and variables say where Python looks. The name is
# for lists of processes.
BEGIN = 'import sys; sys.path[:] = {}; from {} import start; start(sys.argv[2:])'
CHILD = 'worq.pool.children.child'


def start_child(arguments: list[str], module: str = CHILD, **options: Any,
                ) -> subprocess.Popen[bytes]:
    """Start a program of its own, with the same flags of Python.

    :param module: has a function ``start``.
    """
    streams.fill()
    path = [ROOT, *(entry or os.getcwd() for entry in sys.path if isinstance(entry, str))]
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    for option, value in sys._xoptions.items():
        flag = option if value is True else f'{option}={value}'
        if flag not in flags:   # it knows some of them only
            flags += ['-X', flag]
    begin = BEGIN.format(ascii(path), module)
    return subprocess.Popen([sys.executable, *flags, '-c', begin, module, *arguments], **options)
