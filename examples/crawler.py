"""A crawler: coroutines by the hundred, which share one HTTP client.

    pip install httpx
    python examples/crawler.py https://example.com/

A pool of event loops has up to 200 requests under way in one child process. The client is made in
the child's loop, before its first task, and closed after its last.
"""
import argparse
import asyncio
from contextlib import asynccontextmanager
from html.parser import HTMLParser
import os
import tempfile
from urllib.parse import urldefrag, urljoin, urlsplit

import httpx

import worq
import worq.aio
from worq import TaskSpace, get_broker
from worq.pool.aio import WorkerPool

CONCURRENCY = 200
space = TaskSpace()


class Links(HTMLParser):
    """The links of a page."""

    def __init__(self, base):
        super().__init__()
        self.base = base
        self.found = []

    def handle_starttag(self, tag, attrs):
        href = dict(attrs).get('href')
        if tag == 'a' and href:
            self.found.append(urldefrag(urljoin(self.base, href))[0])


@space.task(retries=2, retry_on=httpx.TransportError, timeout=30)
async def fetch(url):
    """The size of a page, and the links on it."""
    response = await client.get(url)
    response.raise_for_status()
    links = Links(str(response.url))
    links.feed(response.text)
    return len(response.content), links.found


@asynccontextmanager
async def init(url):
    """Make the broker of a child process, and what its tasks share."""
    global client
    limits = httpx.Limits(max_connections=CONCURRENCY)
    async with httpx.AsyncClient(limits=limits, follow_redirects=True) as client:
        broker = get_broker(url)
        broker.expose(space)
        yield broker


async def crawl(q, start, most):
    """Fetch what is linked on this host, level by level."""
    aq = worq.aio.Queue(q)
    seen, level, pages, size = {start}, [start], 0, 0
    while level:
        calls = await asyncio.gather(*[aq.fetch(url) for url in level])
        level = []
        async for deferred in worq.aio.as_completed(calls):
            try:
                length, links = await deferred
            except worq.TaskFailure as failure:
                print(failure)
                continue
            pages, size = pages + 1, size + length
            for link in links:
                if link not in seen and urlsplit(link)[:2] == urlsplit(start)[:2] \
                        and len(seen) < most:
                    seen.add(link)
                    level.append(link)
    print(f'{pages} pages, {size} bytes')


def main():
    parser = argparse.ArgumentParser(description='Crawl a site.')
    parser.add_argument('start', help='the page to begin with')
    parser.add_argument('--most', type=int, default=1000, help='pages')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = f'sqlite:///{os.path.join(folder, "crawler.db")}'
        with get_broker(url) as broker, \
                WorkerPool(broker, init, workers=1, concurrency=CONCURRENCY):
            asyncio.run(crawl(broker.queue(), args.start, args.most))


if __name__ == '__main__':
    main()
