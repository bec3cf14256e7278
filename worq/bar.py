"""A bar over many Deferreds: ``worq.progress(deferreds)``."""
from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
import shutil
import sys
from threading import Thread
import time
from typing import Any, Iterable, Iterator, NamedTuple, Protocol, Self, TextIO

from worq import const
from worq.explain import span
from worq.flow import Arrivals, as_completed
from worq.printable import is_terminal, line
from worq.task import Deferred

__all__ = ['Bar', 'Count']

OFTEN = 0.1      # seconds between two drawings on a terminal ...
SELDOM = 5.0     # ... and between two lines elsewhere
LABEL = 60       # letters of a label


class Count(NamedTuple):
    """How far it is."""

    total: int
    done: int = 0            #: failures among them
    failed: int = 0
    seconds: float = 0.0     #: since it began

    @property
    def left(self) -> float | None:
        """In how many seconds it will be done, if it goes on so; None: not known."""
        if self.done == self.total:
            return 0.0
        return self.seconds / self.done * (self.total - self.done) if self.done else None

    def __str__(self) -> str:
        part = f' ({100 * self.done // self.total} %)' if self.total else ''
        text = f'{self.done:,} of {self.total:,}{part}'
        if self.failed:
            text += f', {self.failed:,} failed'
        text += f', {span(round(self.seconds * 1000))}'
        if self.left:
            text += f', about {span(round(self.left * 1000))} to go'
        return text


class Bar:
    """Draws how many of some Deferreds are done, and how many of them failed.

    ::

        for deferred in worq.progress(deferreds):     # as they are done, as in as_completed
            print(deferred.result())

        with worq.progress(deferreds) as bar:         # while something else waits for them
            total = q.sum(deferreds).result()
        print(bar.count.failed)

        worq.progress(deferreds).wait()               # only the bar

    In a notebook it may also be the last expression of a cell: then it goes on while other cells
    are run. See `worq.progress`.

    :ivar count: how far it is: ``.total .done .failed .seconds``.
    """

    def __init__(self, deferreds: Iterable[Deferred], label: str = '', *,
                 timeout: float | None = None, file: TextIO | None = None) -> None:
        self._timeout = const.check_timeout(timeout)
        self._deferreds = list(dict.fromkeys(deferreds))
        Arrivals(self._deferreds, None)   # it knows what cannot be waited for
        self._label = line(label, LABEL)
        self._file = file
        self._began = time.monotonic()
        self.count = Count(len(self._deferreds))
        self._arrivals: Arrivals | None = None
        self._thread: Thread | None = None

    def __iter__(self) -> Iterator[Deferred]:
        """Each Deferred once, when it is done, as ``worq.as_completed`` tells them.

        :raises TimeoutError: if they are not all done by then.
        """
        come = as_completed(self._deferreds, self._timeout)
        return come if self._thread is not None else self._drawn(come)

    def wait(self) -> bool:
        """Draw until all are done.

        :returns: whether they are; False if the timeout was over before.
        """
        try:
            for _ in self:
                pass
        except TimeoutError:
            return False
        return True

    def __enter__(self) -> Self:
        if self._thread is None:
            drawing = self._begin()   # here: what a thread displays a notebook shows in no cell
            self._arrivals = Arrivals(self._deferreds, self._timeout)
            self._arrivals.__enter__()
            self._thread = Thread(target=self._go_on, args=(self._arrivals, drawing),
                                  daemon=True, name='worq-progress')
            self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        arrivals, thread = self._arrivals, self._thread
        if arrivals is not None and thread is not None:
            arrivals.stop()
            thread.join()
            arrivals.__exit__()
            self._arrivals = self._thread = None

    def __len__(self) -> int:
        """How many Deferreds there are."""
        return self.count.total

    def __repr__(self) -> str:
        return f'<Bar {self.count}>'

    def _ipython_display_(self) -> None:   # in a notebook, as the last expression of a cell
        self.__enter__()

    # -- parts --

    def _begin(self) -> Drawing:
        self._began = time.monotonic()
        self.count = Count(len(self._deferreds))
        return begin(self._label, self.count, self._file)

    def _go_on(self, arrivals: Arrivals, drawing: Drawing) -> None:
        for _ in self._drawn(every(arrivals), drawing):
            pass

    def _drawn(self, come: Iterator[Deferred],
               drawing: Drawing | None = None) -> Iterator[Deferred]:
        """The same, and each is counted."""
        drawing = drawing or self._begin()
        try:
            for deferred in come:
                self._told(deferred)
                drawing.draw(self.count)
                yield deferred
        finally:
            self.count = self.count._replace(seconds=time.monotonic() - self._began)
            drawing.end(self.count)

    def _told(self, deferred: Deferred) -> None:
        total, done, failed, _ = self.count
        failed += deferred.status != const.SUCCESS   # which does not load the value
        self.count = Count(total, done + 1, failed, time.monotonic() - self._began)


def every(arrivals: Arrivals) -> Iterator[Deferred]:
    """Those that come; then those that have come without having been announced yet."""
    yield from arrivals.come()
    yield from [deferred for deferred in arrivals.open if deferred.has_value()]


# -- ways to draw ----------------------------------------------------------------------


class Drawing(Protocol):
    """One way to draw a bar; it is used by one thread."""

    def draw(self, count: Count) -> None: ...

    def end(self, count: Count) -> None: ...


def begin(label: str, count: Count, file: TextIO | None) -> Drawing:
    """The best way that there is: a widget in a notebook; on a terminal rich, or tqdm, or a line
    that is written over; else now and then a line."""
    if file is None:
        if in_notebook():
            return (Widget if find_spec('ipywidgets') else Markup)(label, count)
        file = sys.stderr
    if not is_terminal(file):
        return Lines(label, count, file)
    if find_spec('rich'):
        return Rich(label, count, file)
    if find_spec('tqdm'):
        return Tqdm(label, count, file)
    return Terminal(label, count, file)


def in_notebook() -> bool:
    """Whether this is the kernel of a notebook, rather than a shell or a script."""
    ipython = sys.modules.get('IPython')
    shell = ipython and ipython.get_ipython()
    return type(shell).__name__ == 'ZMQInteractiveShell'


class Seldom:
    """Tells whether it is time to draw again."""

    def __init__(self, pause: float) -> None:
        self.pause = pause
        self.drawn = time.monotonic()

    def __call__(self, count: Count) -> bool:
        now = time.monotonic()
        if now - self.drawn < self.pause:
            return False
        self.drawn = now
        return True


class Lines:
    """A line now and then, and one at the end."""

    def __init__(self, label: str, count: Count, file: Any) -> None:
        self.label = f'{label}: ' if label else ''
        self.file = file
        self.again = Seldom(SELDOM)

    def write(self, text: str) -> None:
        try:
            self.file.write(text)
            self.file.flush()
        except (AttributeError, OSError, ValueError):
            pass   # nobody reads it: there is none, or it is closed

    def draw(self, count: Count) -> None:
        if self.again(count) and count.done < count.total:
            self.write(f'{self.label}{count}\n')

    def end(self, count: Count) -> None:
        self.write(f'{self.label}{count}\n')


class Often:
    """Shows how far it is, time and again."""

    def __init__(self, label: str) -> None:
        self.label = f'{label}: ' if label else ''
        self.again = Seldom(OFTEN)

    def draw(self, count: Count) -> None:
        if self.again(count):
            self.show(count)

    def show(self, count: Count) -> None:
        raise NotImplementedError


class Terminal(Lines):
    """One line, which is written over."""

    def __init__(self, label: str, count: Count, file: Any) -> None:
        super().__init__(label, count, file)
        self.again = Seldom(OFTEN)
        self.show(count)

    def show(self, count: Count, end: str = '') -> None:
        columns = shutil.get_terminal_size().columns
        text = f'{self.label}{count}'
        width = max(0, min(40, columns - len(text) - 4))
        full = width * count.done // count.total if count.total else width
        bar = f'[{"#" * full}{"." * (width - full)}] ' if width > 4 else ''
        self.write(f'\r\x1b[K{(bar + text)[:max(columns - 1, 1)]}{end}')

    def draw(self, count: Count) -> None:
        if self.again(count):
            self.show(count)

    def end(self, count: Count) -> None:
        self.show(count, '\n')


class Rich(Often):
    """A bar of rich, which has a thread of its own that goes on counting the time."""

    def __init__(self, label: str, count: Count, file: Any) -> None:
        super().__init__(label)
        of = import_module('rich.progress')
        console = import_module('rich.console').Console(file=file)
        self.bar = of.Progress(
            of.TextColumn('{task.description}', markup=False), of.BarColumn(),
            of.MofNCompleteColumn(), of.TextColumn('{task.fields[failed]}', style='red'),
            of.TimeElapsedColumn(), of.TimeRemainingColumn(), console=console)
        self.task = self.bar.add_task(label, total=count.total, failed='')
        self.bar.start()

    def show(self, count: Count) -> None:
        failed = f'{count.failed:,} failed' if count.failed else ''
        self.bar.update(self.task, completed=count.done, failed=failed)

    def end(self, count: Count) -> None:
        self.show(count)
        self.bar.stop()


class Tqdm:
    """A bar of tqdm."""

    def __init__(self, label: str, count: Count, file: Any) -> None:
        self.bar = import_module('tqdm').tqdm(total=count.total, desc=label or None, file=file)
        self.failed = 0

    def draw(self, count: Count) -> None:
        self.bar.update(count.done - self.bar.n)
        if count.failed != self.failed:
            self.failed = count.failed
            self.bar.set_postfix_str(f'{count.failed:,} failed', refresh=False)

    def end(self, count: Count) -> None:
        self.draw(count)
        self.bar.close()


class Widget(Often):
    """A bar of ipywidgets, in a notebook."""

    def __init__(self, label: str, count: Count) -> None:
        super().__init__(label)
        of = import_module('ipywidgets')
        self.bar = of.IntProgress(max=count.total or 1)
        self.text = of.Label()
        self.show(count)
        import_module('IPython.display').display(of.HBox([self.bar, self.text]))

    def show(self, count: Count) -> None:
        self.bar.value = count.done
        self.bar.bar_style = 'danger' if count.failed else ''
        self.text.value = f'{self.label}{count}'

    def end(self, count: Count) -> None:
        self.show(count)
        if count.done == count.total and not count.failed:
            self.bar.bar_style = 'success'


class Markup(Often):
    """The same in a notebook that has no ipywidgets: markup, which is written over."""

    def __init__(self, label: str, count: Count) -> None:
        super().__init__(label)
        self.of = import_module('IPython.display')
        self.handle = self.of.display(self.markup(count), display_id=True)

    def markup(self, count: Count) -> Any:
        text = f'{self.label}{count}'.replace('&', '&amp;').replace('<', '&lt;')
        return self.of.HTML(f'<progress max="{count.total or 1}" value="{count.done}" '
                            f'style="width: 20em"></progress> {text}')

    def show(self, count: Count) -> None:
        self.handle.update(self.markup(count))

    def end(self, count: Count) -> None:
        self.show(count)
