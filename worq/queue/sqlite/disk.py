"""What is asked of the place where a file is: its disk, its folder, who else has it open."""
from __future__ import annotations

import os
import re
import stat
from contextlib import suppress

from worq.errors import QueueError

__all__ = ['make', 'check_folder', 'check_room', 'remote_kind', 'holders']

RESERVE = 16 << 20   # bytes of a disk that a put leaves free: to settle needs some
SHARE = 4            # ... or this part of a small disk
#: Of these several machines may have a file open, which do not see each other's locks and memory.
REMOTE = re.compile(
    r'nfs\d?|cifs|smb\w*|9p|afs|ceph|glusterfs|lustre|beegfs|gpfs|gfs2|ocfs2|vboxsf|vmhgfs|prl_fs|'
    r'virtiofs|fuse\.(?!fuse-overlayfs|ntfs|exfat)\S+|acfs|davfs\d?|ncpfs|coda')


def make(path: str) -> None:
    """Make the file if there is none, so that only its owner can read or write it.

    (To open one that is there, and close it again, would let go of SQLite's locks on it.)
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def check_folder(path: str) -> None:
    """QueueError unless the file can be used there, saying what to do."""
    folder = os.path.dirname(path)
    try:
        if not stat.S_ISDIR(os.stat(folder).st_mode):
            raise NotADirectoryError
    except (FileNotFoundError, NotADirectoryError):
        raise QueueError(f'there is no folder {folder} for {os.path.basename(path)}: make it, or '
                         'correct the address') from None
    except OSError as error:
        raise QueueError(f'{folder} cannot be looked at: {error.strerror}') from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise QueueError(f'{folder} cannot be written by this user: SQLite makes files beside '
                         f'{os.path.basename(path)}, so it must be')
    if os.path.exists(path):
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise QueueError(f'{path} is not a file')
        if not os.access(path, os.R_OK | os.W_OK):
            raise QueueError(f'{path} cannot be read and written by this user')


def remote_kind(path: str, mounts: str = '/proc/self/mountinfo') -> str:
    """The kind of a file system that other machines may write to; empty if it is not such a one.

    Where the system does not tell its file systems so, nothing is known.
    """
    folder = os.path.realpath(os.path.dirname(path))
    longest, kind = -1, ''
    try:
        with open(mounts, encoding='utf-8', errors='surrogateescape') as lines:
            for line in lines:
                fields, _, rest = line.partition(' - ')
                mount = re.sub(r'\\(\d{3})', lambda octal: chr(int(octal[1], 8)),
                               fields.split(' ')[4])
                within = folder == mount or folder.startswith(mount.rstrip('/') + '/')
                if within and len(mount) >= longest:   # the last one lies on top
                    longest, kind = len(mount), rest.split(' ')[0]
    except (OSError, IndexError):
        return ''
    return kind if REMOTE.fullmatch(kind) else ''


def check_room(path: str) -> None:
    """QueueError if the disk is so full that what is queued could not be settled any more."""
    try:
        disk = os.statvfs(os.path.dirname(path))
    except OSError:
        return   # the next statement says what is wrong
    free = disk.f_bavail * disk.f_frsize
    reserve = min(RESERVE, disk.f_blocks * disk.f_frsize // SHARE)
    if free < reserve:
        raise QueueError(f'the disk of {path} is nearly full: {free >> 10:,} KiB are free, and the '
                         f'last {reserve >> 10:,} KiB are kept for the outcomes of what is queued. '
                         'Free some space, or let the pools work the queue off')


def holders(path: str) -> str:
    """Which other processes have the file open, for people; empty if nobody knows."""
    found = []
    with suppress(OSError):
        here = os.stat(path)
        for pid in filter(str.isdigit, os.listdir('/proc')):
            if int(pid) == os.getpid():
                continue
            with suppress(OSError):   # it has gone, or is somebody else's
                for fd in os.listdir(f'/proc/{pid}/fd'):
                    status = os.stat(f'/proc/{pid}/fd/{fd}')
                    if (status.st_dev, status.st_ino) == (here.st_dev, here.st_ino):
                        with open(f'/proc/{pid}/comm', encoding='utf-8', errors='replace') as name:
                            found.append(f'{name.read().strip()} (pid {pid})')
                        break
    return ', '.join(found[:5])
