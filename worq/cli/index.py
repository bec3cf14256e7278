"""The commands there are, and the module of each, which is imported when it is needed."""
from __future__ import annotations

from importlib import import_module

from worq.cli.usage import Command, Usage, nearest

__all__ = ['GROUPS', 'NAMES', 'command', 'overview']

#: What the help lists: the commands by group, their modules, and what they do in a few words.
GROUPS = [
    ('run tasks', [
        ('worker', 'work', 'run the tasks of a module'),
        ('call', 'act', 'put a task')]),
    ('look', [
        ('info', 'look', 'how a queue stands: sizes, ages, pools'),
        ('top', 'top', 'the same, live, with keys to look at tasks and to cancel them'),
        ('queues', 'look', 'the queues at an address'),
        ('pools', 'look', 'the pools of a queue, and what their workers run'),
        ('tasks', 'lists', 'tasks by state and name'),
        ('failed', 'failed', 'what failed and why, in groups'),
        ('show', 'one', 'all there is to see of a task'),
        ('explain', 'one', 'why a task is not done yet, or how it ended'),
        ('graph', 'one', 'what a task waits for, and what waits for it'),
        ('web', 'web', 'a page in a browser: the queue live, its tasks, and what to do'),
        ('watch', 'watch', 'the progress of tasks, until they end'),
        ('log', 'log', 'who did what to a queue, and when')]),
    ('act', [
        ('cron', 'cron', 'schedules: list, run, pause, resume, set, forget'),
        ('cancel', 'act', 'cancel tasks'),
        ('revive', 'failed', 'run failed tasks again'),
        ('purge', 'act', 'cancel all that has not begun'),
        ('forget', 'forget', 'drop results and failures before their time'),
        ('pause', 'pause', 'have no pool take any tasks, or those of some names'),
        ('resume', 'pause', 'have them taken again')]),
    ('keep', [
        ('check', 'keep', 'whether all is well, for probes'),
        ('audit', 'keep', 'look for damage in a queue, and repair it'),
        ('move', 'move', 'move what has not begun into another queue'),
        ('delete', 'forget', 'delete a queue, with all that is in it'),
        ('secrets', 'secrets', 'how much is signed with which secret, before one is taken away'),
        ('metrics', 'metrics', 'what queues count, for Prometheus: printed, or served')]),
    ('more', [
        ('completion', 'completion', 'a script that completes commands in bash, zsh or fish'),
        ('help', 'help', 'tell of a command')]),
]

#: name -> (module, what it does)
NAMES = {name: (module, about) for _, group in GROUPS for name, module, about in group}


def command(name: str) -> Command:
    """A command by its name.

    :raises Usage: if there is none of this name.
    """
    if name not in NAMES:
        raise Usage(f'there is no command {name!r}; {nearest(name, NAMES)}')
    found: Command = getattr(import_module(f'worq.cli.{NAMES[name][0]}'), name.upper())
    return found


def overview() -> str:
    """All commands, a line each."""
    lines = []
    for title, group in GROUPS:
        lines += ['', f'{title}:', *(f'  {name:<11} {about}' for name, _, about in group)]
    return '\n'.join(lines[1:])
