"""Whether files of a program have changed, for ``worq worker --reload``."""
from __future__ import annotations

import os
import sys
from typing import Iterator

from worq.printable import logger

__all__ = ['Changes']

log = logger(__name__)

FILES = 5_000     # that are looked at; of a larger tree those found first
ELSEWHERE = {'site-packages', 'dist-packages', 'node_modules', '__pycache__'}


class Changes:
    """Looks at the Python files beside the module of a target, and in the folders below.

    :param target: as ``module:name``; it has been imported.
    """

    def __init__(self, target: str) -> None:
        self.folder = folder_of(target)
        self._known = dict(self._look())
        self._moving: dict[str, tuple[int, int]] | None = None

    def seen(self) -> bool:
        """Whether there was a change since the last one that was told: not before all stands still,
        for several files may be written together."""
        now = dict(self._look())
        if now == self._known:
            self._moving = None
            return False
        if now != self._moving:
            self._moving = now
            return False
        changed = sorted({path for path, _ in now.items() ^ self._known.items()})
        log.info('%s has changed', os.path.relpath(changed[0], self.folder)
                 + (f' and {len(changed) - 1} more' if len(changed) > 1 else ''))
        self._known, self._moving = now, None
        return True

    def _look(self) -> Iterator[tuple[str, tuple[int, int]]]:
        count = 0
        for folder, folders, files in os.walk(self.folder):
            folders[:] = sorted(name for name in folders
                                if name not in ELSEWHERE and not name.startswith('.')
                                and not os.path.exists(os.path.join(folder, name, 'pyvenv.cfg')))
            for name in files:
                if name.endswith('.py') and count < FILES:
                    path = os.path.join(folder, name)
                    try:
                        status = os.stat(path)
                    except OSError:
                        continue
                    count += 1
                    yield path, (status.st_mtime_ns, status.st_size)


def folder_of(target: str) -> str:
    """The folder in which the top-level module of a target is, or that of its package."""
    name = target.partition(':')[0].partition('.')[0]
    module = sys.modules[name]
    path = getattr(module, '__file__', None) or next(iter(getattr(module, '__path__', [])), '')
    if not path:
        return os.getcwd()
    if os.path.basename(path).startswith('__init__.'):
        path = os.path.dirname(path)
    return os.path.dirname(os.path.abspath(path))
