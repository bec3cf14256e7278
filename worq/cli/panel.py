"""What ``worq top`` shows: numbers, a list of tasks, one of them in words."""
from __future__ import annotations

from typing import Any, NamedTuple

from worq.cli.lists import LISTED, OVER, age_and_due, all_of
from worq.cli.look import state_of, summary, troubles
from worq.cli.one import told
from worq.cli.session import person
from worq.cli.table import Column, cells, cut, table
from worq.cli.words import figures, spell
from worq.core import Broker
from worq.errors import QueueError
from worq.printable import line
from worq.view.records import Overview, PoolRow
from worq.view.shown import Redact

__all__ = ['Panel']

PAGE = 500      # tasks of a list
KEYS = 'arrows tab  e explain  s show  c cancel  / filter  space stop  q quit'
RUNNING, POOLS = 'running', 'pools'
Line = tuple[str, str]    #: a text and its style


class Task(NamedTuple):
    """One line of a list."""

    id: str
    name: str
    seconds: float | None
    where: str
    number: int = 0


class Panel:
    """The state of the screen: `look` asks the queue, `press` takes a key, `lines` draws."""

    def __init__(self, broker: Broker, redact: Redact | None = None) -> None:
        self.broker = broker
        self.view = broker.view(redact)
        self.lists = [RUNNING, *LISTED[1:], POOLS]   # what is processing runs
        self.shown = RUNNING
        self.filter = ''
        self.paused = False
        self.away = ''                      # why the queue cannot be asked
        self.overview: Overview | None = None
        self.pools: list[PoolRow] = []
        self.tasks: list[Task] = []
        self.chosen = 0
        self.detail: list[str] = []         # of one task, over the list
        self._first = 0                     # of its lines that are seen
        self._about = ''                    # the id of that task, and how it is told
        self._how = 'explain'
        self._asks = ''                     # what is typed: '/' a filter, 'c' a yes
        self._said = ''

    # -- the queue --

    def look(self) -> None:
        """Ask the queue for all that is shown."""
        try:
            with self.broker.backend.within(0.5):
                self.overview = self.view.overview()
                self.pools = self.view.pools()
                self.tasks = self._list()
                if self._about:
                    self._tell()
            self.away = ''
        except QueueError as error:
            self.away = line(error)
        self.chosen = max(0, min(self.chosen, len(self.tasks) - 1))

    def _list(self) -> list[Task]:
        if self.shown == POOLS:
            return []
        if self.shown != RUNNING:
            return self._page()
        found = [Task(worker.id, worker.name, worker.seconds, pool.id, worker.number)
                 for pool in self.pools for worker in pool.workers
                 if worker.id and self.filter in f'{worker.name} {worker.id}']
        return sorted(found, key=lambda task: -(task.seconds or 0))

    def _page(self) -> list[Task]:
        """A page of a list: of what has ended the last ones, else those that are first in turn."""
        found = []
        rows = all_of(self.view, self.shown, newest=self.shown in OVER)
        for row, _ in zip(rows, range(PAGE)):
            if self.filter in f'{row.name} {row.id}':
                age, due = age_and_due(row)
                where = row.pool if due is None else f'due in {spell(due)}'
                found.append(Task(row.id, row.name, age, where))
        return found

    def _tell(self) -> None:
        if self._how == 'explain':
            self.detail = self.view.explain(self._about).splitlines()
        else:
            found = self.view.task(self._about)
            self.detail = [f'{self._about} is not known any more'] if found is None else \
                [f'{found.name} {found.id}  {found.state}', *told(found)]

    # -- keys --

    def press(self, key: str) -> bool:
        """Do what a key is for; False: that is to end."""
        self._said = ''
        if self._asks == '/':
            self._type(key)
        elif self._asks:
            asked, self._asks = self._asks, ''
            if key in 'yY':
                self._cancel(asked)
        elif key == 'q':
            return False
        elif key == 'escape':
            self._about, self.detail, self.filter = '', [], self.filter if self._about else ''
        elif key == ' ':
            self.paused = not self.paused
        elif key == '/':
            self._asks = '/'
        elif key in ('up', 'k', 'down', 'j', 'page up', 'page down'):
            self._move({'up': -1, 'k': -1, 'down': 1, 'j': 1, 'page up': -10}.get(key, 10))
        elif key in ('left', 'right'):
            self._turn(1 if key == 'right' else -1)
        elif key in ('e', 'enter', 's', 'c'):
            self._choose(key)
        return True

    def _move(self, by: int) -> None:
        if self.detail:
            self._first = max(0, min(self._first + by, len(self.detail) - 1))
        else:
            self.chosen = max(0, min(self.chosen + by, len(self.tasks) - 1))

    def _turn(self, by: int) -> None:
        self.shown = self.lists[(self.lists.index(self.shown) + by) % len(self.lists)]
        self.chosen, self._about, self.detail = 0, '', []
        self.look()

    def _choose(self, key: str) -> None:
        id = self._about or (self.tasks[self.chosen].id if self.tasks else '')
        if not id:
            self._said = 'there is no task to choose'
        elif key == 'c':
            self._asks = id
        else:
            self._about, self._how, self._first = id, 'show' if key == 's' else 'explain', 0
            self.look()

    def _type(self, key: str) -> None:
        if key in ('enter', 'escape'):
            self._asks = ''
            self.filter = self.filter if key == 'enter' else ''
        elif key == 'delete':
            self.filter = self.filter[:-1]
        elif len(key) == 1:
            self.filter += key
        self.look()

    def _cancel(self, id: str) -> None:
        try:
            word, = self.broker.cancel_all([id], by=person())
            self._said = f'{id}: {word}'
        except QueueError as error:
            self.away = line(error)
        self.look()

    # -- the screen --

    def lines(self, columns: int, height: int) -> list[Line]:
        """The screen: texts and their styles.

        :param columns: and `height`: of the terminal; 0: it is none, and all is told.
        """
        made: list[Line] = []
        if self.overview is not None:
            head, *rest = summary(self.overview)
            made.append((head, 'bold'))
            made += [(text, '') for text in rest]
            made += [(f'  ! {text}', 'red') for text in troubles(self.overview, self.pools)]
        if self.away:
            made.insert(0, (self.away, 'reverse red'))
        made.append(('', ''))
        if columns:
            made.append((self._tabs(columns), 'bold'))
        room = height - len(made) - 1
        if self.detail:
            made += [(text, '') for text in self.detail[self._first:][:max(room, 1)]]
        else:
            made += self._listed(columns, room)
        if not height:
            return made
        made = made[:height - 1]
        made += [('', '')] * (height - 1 - len(made))
        made.append((self._foot(), 'reverse'))
        return [(cut(text, columns), style) for text, style in made]

    def _tabs(self, columns: int) -> str:
        names = [f'[{name}]' if name == self.shown else name for name in self.lists]
        text = ' '.join(names)
        if len(text) > columns:   # the one that is shown is seen in any case
            text = ' '.join(names[self.lists.index(self.shown):])
        return text + (f'  /{self.filter}' if self.filter else '')

    def _foot(self) -> str:
        if self._asks == '/':
            return f'/{self.filter}_   names and ids that have this; enter keeps it, esc drops it'
        if self._asks:
            return f'Cancel {self._asks}, and all that depends on it? [y/N]'
        return self._said or ('stands still: space goes on' if self.paused else KEYS)

    def _listed(self, columns: int, room: int) -> list[Line]:
        items: list[Any] = self.pools if self.shown == POOLS else self.tasks
        shown = POOL if self.shown == POOLS else TASK
        if not items:
            return [('nothing', '')] if columns else []
        rows = table(shown, cells(items, shown), columns, whole=False)
        if not columns:
            return [(text, '') for text in rows]
        head, rows = rows[0], rows[1:]
        marked = [(text, 'reverse' if n == self.chosen and self.shown != POOLS else '')
                  for n, text in enumerate(rows)]
        first = max(0, min(self.chosen - max(room - 2, 1) // 2, len(rows) - max(room - 1, 1)))
        return [(head, 'bold'), *marked[first:first + max(room - 1, 1)]]


TASK = [
    Column('TASK', lambda task: task.name, cut=1),
    Column('ID', lambda task: task.id, cut=1),
    Column('FOR', lambda task: figures(task.seconds), right=True, cut=1),
    Column('POOL', lambda task: task.where, cut=2),
    Column('WORKER', lambda task: task.number or '', right=True, cut=1)]

POOL = [
    Column('POOL', lambda pool: pool.id, cut=1),
    Column('KIND', lambda pool: pool.kind, cut=1),
    Column('SEEN', lambda pool: figures(pool.seen), right=True, cut=1),
    Column('BUSY', lambda pool: f'{pool.busy}/{pool.size}', right=True, cut=1),
    Column('STATE', state_of, cut=1)]
