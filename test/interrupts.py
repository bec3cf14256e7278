"""Exceptions at any step of the interpreter, as a signal handler may raise them, but in order."""
from __future__ import annotations

import dis
from pathlib import Path
import sys
import threading
from types import FrameType
from typing import Any, Callable, Iterator

import worq

__all__ = ['Interrupt', 'interrupted', 'at_steps', 'in_time']

STOPS = {'CALL', 'CALL_FUNCTION_EX', 'CALL_KW', 'RESUME'}
FOLDER = str(Path(worq.__file__).parent)


class Interrupt(BaseException):
    """What the handler raises; like a KeyboardInterrupt."""


def interrupted(call: Callable[[], object], step: int,
                act: Callable[[], object] | None = None, within: str = '',
                real: bool = False) -> bool:
    """Call it, and in its n-th step within the code of WorQ raise `Interrupt`.

    :param act: is called there in place of that, as a signal handler that does not raise.
    :param within: names of files, if only steps in these count.
    :param real: count only where a signal handler can run: after calls and jumps back. A debugger
        can raise anywhere, also at the end of a ``with``, before it lets go of a lock.
    :returns: whether it has so many steps.
    """
    left = step
    last: dict[FrameType, int] = {}

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal left
        path = frame.f_code.co_filename
        if not path.startswith(FOLDER) or within and path.rpartition('/')[2] not in within:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == 'opcode':
            before = last.get(frame, 0)
            last[frame] = frame.f_lasti
            if real and dis.opname[frame.f_code.co_code[before]] not in STOPS \
                    and 'JUMP_BACK' not in dis.opname[frame.f_code.co_code[before]]:
                return trace
            left -= 1
            if left == 0:
                sys.settrace(None)
                if act is None:
                    raise Interrupt
                act()
        return trace

    outer = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except Interrupt:
        pass
    finally:
        sys.settrace(outer)
        last.clear()   # or it would keep what the frames have
    return left <= 0


def at_steps(every: int, first: int = 1) -> Iterator[int]:
    """Numbers of steps: a few of thousands, though none is too regular."""
    step = first
    while True:
        yield step
        step += every + step * 7919 % 5


def in_time(call: Callable[[], Any], seconds: float = 20) -> Any:
    """What it returns in another thread, which no lock of ours may hold up."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(call()), daemon=True)
    thread.start()
    thread.join(seconds)
    if not found:
        raise AssertionError(f'{call} has not returned in {seconds} s')
    return found[0]
