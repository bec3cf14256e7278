"""One thread looks at the queues for all tabs of a process, and only while there are any.

1. A *topic* is one thing that can be asked, as a page of tasks. All tabs that watch the same topic
   share one look.
2. Looks are rare enough to be harmless: what took long is looked at less often, so that all of them
   together take at most a `SHARE` of the time, however many there are. First looks, as of tabs that
   are opened, may take more for a while: `BRISK`, at most, in any stretch of time.
3. Whoever asks without watching shares these looks: the last answer is given until the next look is
   due.
4. A tab gets what has changed since it was told last. One that is slow gets less, and never a
   queue of old news.
"""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
import json
from threading import Condition, Semaphore, Thread
import time
from typing import NamedTuple

__all__ = ['Feed', 'Full', 'Look', 'Tab', 'Topic']

SHARE = 1 / 20     # of the time, that looks may take ...
BRISK = 1 / 10     # ... and while some have never been told anything
SLOWEST = 60.0     # seconds between two looks, at most ...
AWAY = 2.0         # ... and when the last one has failed, which mostly took its time waiting
IDLE = 200         # topics that are remembered though nobody watches them
BEAT = 5.0         # seconds after which a tab that gets no news is told that all is well
LIFE = 20.0        # ... after which it has to ask again, and its rights are looked up again
AGAIN = 500        # ms until it does so
ASKING = 2         # looks for those who ask, at a time ...
QUEUE = 5.0        # ... and seconds for which others wait for that


class Topic(NamedTuple):
    """One thing that can be watched."""

    queue: str
    kind: str                              #: a word of `worq.web.reads.READS`
    asked: tuple[tuple[str, str], ...]     #: the rest of the question, in order


class Look(NamedTuple):
    """What a look has found."""

    text: str           #: JSON, the inner part of an object
    status: int = 200   #: of HTTP
    at: float = 0.0     #: when, in seconds since the epoch

    @property
    def well(self) -> bool:
        """Whether it is no error."""
        return self.status == 200

    @property
    def body(self) -> str:
        """The whole object."""
        return f'{{"now":{self.at:.3f},{self.text}}}'


class Watched:
    """A topic that some tab watches."""

    def __init__(self) -> None:
        self.due = time.monotonic()     # when it is to be looked at
        self.left = self.due            # ... and when the last one left who watched, or asked
        self.last: Look | None = None
        self.tabs: set[Tab] = set()


class Full(Exception):
    """There are as many tabs, or as many who ask, as there may be."""


class Feed:
    """The looks of a process.

    :param look: what there is to say of a topic. It runs in the thread, may block, and raises
        nothing.
    :param every: seconds between two looks at a topic, at least.
    :param most: tabs at a time.
    """

    def __init__(self, look: Callable[[Topic], Look], every: Callable[[Topic], float],
                 most: int) -> None:
        self._look = look
        self._every = every
        self._most = most
        self._changed = Condition()
        self._watched: dict[Topic, Watched] = {}
        self._tabs: set[Tab] = set()
        self._thread: Thread | None = None
        self._rested = 0.0   # until when nothing is looked at
        self._asking = Semaphore(ASKING)

    # 1. -- tabs --

    def open(self, topics: dict[str, Topic]) -> Tab:
        """Watch topics, from within an event loop; whoever does so closes the tab.

        :param topics: by what the tab calls them.
        :raises Full: if there are too many tabs.
        """
        tab = Tab(self, topics)
        with self._changed:
            if len(self._tabs) >= self._most:
                raise Full
            self._tabs.add(tab)
            self._forget()
            for topic in set(topics.values()):
                watched = self._watched.setdefault(topic, Watched())
                watched.tabs.add(tab)
                if watched.last is not None:
                    tab.tell(topic, watched.last)
            if self._thread is None:
                self._thread = Thread(target=self._run, name='worq-web', daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return tab

    def close(self, tab: Tab) -> None:
        """Stop watching; the last one ends the thread."""
        with self._changed:
            self._tabs.discard(tab)
            for topic in tab.names:
                watched = self._watched.get(topic)
                if watched is not None:
                    watched.tabs.discard(tab)
                    watched.left = time.monotonic()
            self._changed.notify_all()

    def _forget(self) -> None:
        """Drop what nobody has watched for a while. Not at once: a tab that comes again is told
        what is known, and brings no look before its time."""
        now = time.monotonic()
        idle = sorted((watched.left, topic) for topic, watched in self._watched.items()
                      if not watched.tabs)
        for number, (left, topic) in enumerate(reversed(idle)):
            if number >= IDLE or now - left > SLOWEST:
                del self._watched[topic]

    def news(self, tab: Tab) -> list[tuple[Topic, Look]]:
        """What a tab has not been told of yet."""
        with self._changed:
            news = list(tab.news.items())
            tab.news.clear()
            return news

    def hurry(self, queue: str) -> None:
        """Look again at all that is watched of a queue: something was done to it."""
        with self._changed:
            for topic, watched in self._watched.items():
                if topic.queue == queue:
                    watched.due = 0.0
            self._changed.notify_all()

    def stop(self) -> None:
        """Have all tabs end; browsers come again by themselves."""
        with self._changed:
            for tab in list(self._tabs):   # it may be a signal handler that does this
                tab.end()

    def ask(self, topic: Topic) -> Look:
        """What there is to say of a topic, to who watches nothing. It may block.

        :raises Full: if too many ask.
        """
        if (known := self._known(topic)) is not None:
            return known
        if not self._asking.acquire(timeout=QUEUE):
            raise Full
        try:
            if (known := self._known(topic)) is not None:   # another one has asked meanwhile
                return known
            with self._changed:
                self._forget()
                self._watched.setdefault(topic, Watched()).left = time.monotonic()
            return self._look_at(topic)
        finally:
            self._asking.release()

    def _known(self, topic: Topic) -> Look | None:
        """What the last look has found, unless it is time for the next one."""
        with self._changed:
            watched = self._watched.get(topic)
            if watched is None or watched.last is None or not watched.last.well \
                    or time.monotonic() >= watched.due:
                return None
            return watched.last

    # 2. -- looks --

    def _run(self) -> None:
        while (topic := self._next()) is not None:
            self._look_at(topic)

    def _look_at(self, topic: Topic) -> Look:
        began = time.monotonic()
        look = self._look(topic)._replace(at=time.time())
        self._found(topic, look, time.monotonic() - began)
        return look

    def _next(self) -> Topic | None:
        """The topic whose turn it is, when it is; None when nobody watches any more."""
        with self._changed:
            while due := [(watched.due, topic) for topic, watched in self._watched.items()
                          if watched.tabs]:
                when, topic = min(due)
                left = max(when, self._rested) - time.monotonic()
                if left <= 0:
                    return topic
                self._changed.wait(left)
            self._thread = None
            return None

    def _found(self, topic: Topic, look: Look, took: float) -> None:
        with self._changed:
            if look.well:   # else it has mostly waited for a queue that is away
                self._rested = time.monotonic() + took * (1 / BRISK - 1)
            watched = self._watched.get(topic)
            if watched is None:   # it has been forgotten meanwhile
                return
            count = sum(bool(each.tabs) for each in self._watched.values())
            rest = min(took * count / SHARE, SLOWEST) if look.well else AWAY
            watched.due = time.monotonic() + max(self._every(topic), rest)
            changed = watched.last is None or watched.last.text != look.text
            watched.last = look
            if changed:
                for tab in watched.tabs:
                    tab.tell(topic, look)


class Tab:
    """What one tab is to be told. It belongs to the event loop in which it was opened."""

    def __init__(self, feed: Feed, topics: dict[str, Topic]) -> None:
        self._feed = feed
        self.names: dict[Topic, list[str]] = {}
        for name, topic in topics.items():
            self.names.setdefault(topic, []).append(name)
        self.news: dict[Topic, Look] = {}   # the last of each; the feed's lock guards it
        self._loop = asyncio.get_running_loop()
        self._rung = asyncio.Event()
        self._over = False

    def tell(self, topic: Topic, look: Look) -> None:
        """Called by the feed, under its lock."""
        self.news[topic] = look
        self._ring()

    def end(self) -> None:
        """End it soon."""
        self._over = True
        self._ring()

    def _ring(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._rung.set)
        except RuntimeError:   # that loop is closed, and this tab with it
            pass

    async def events(self) -> AsyncIterator[str]:
        """Server-sent events, for as long as a tab may live."""
        yield f'retry: {AGAIN}\n\n'
        end = self._loop.time() + LIFE
        while not self._over and (left := end - self._loop.time()) > 0:
            try:
                async with asyncio.timeout(min(BEAT, left)):
                    await self._rung.wait()
            except TimeoutError:
                yield 'event: beat\ndata: {}\n\n'
                continue
            self._rung.clear()
            for topic, look in self._feed.news(self):
                for name in self.names[topic]:
                    yield f'data: {{"topic":{json.dumps(name)},"now":{look.at:.3f},' \
                          f'{look.text}}}\n\n'

    def close(self) -> None:
        """Watch no more. May be called twice."""
        self._feed.close(self)
