"""Counts the words of all text and source files under a folder, with a tree of tasks.

    python examples/wordcount.py [FOLDER] [--url URL] [--workers N] [--grain BYTES]

One task counts files of about 1 MB together, which takes it a tenth of a second or so: long
beside the fraction of a millisecond that a task costs, and short beside the whole. (With
``--grain 1`` each file is a task, and most of the time goes into sending thousands of small
counts about.) The counts are merged by tasks that take the Deferreds of other tasks, eight at a
time, up to the one at the top of the tree. Afterwards the same is done by this process alone,
for comparison. FOLDER is Python's standard library unless given; URL is memory:// unless given,
or for example redis://localhost:6379/0.
"""
import argparse
from collections import Counter
import os
from pathlib import Path
import re
import sysconfig
import time

from worq import TaskSpace, get_broker
from worq.pool.process import WorkerPool

SUFFIXES = set('''
    .c .cc .cfg .cpp .css .csv .go .h .hpp .html .ini .java .js .json .lua .md .py .pyi .rb .rs
    .rst .sh .toml .ts .txt .xml .yaml .yml
    '''.split())
FAN_IN = 8
WORD = re.compile(r'[^\W\d_]{2,}')

words = TaskSpace('words')


@words.task
def count(paths):
    counter = Counter()
    for path in paths:
        text = Path(path).read_text('utf-8', errors='replace')
        counter.update(WORD.findall(text.lower()))
    return counter


@words.task
def merge(counters):
    merged = Counter()
    for counter in counters:
        merged.update(counter)
    return merged


def init(url):
    """Make the broker of a child process."""
    broker = get_broker(url, 'wordcount')
    broker.expose(words)
    return broker


def files(folder):
    """The files worth reading, without what is installed or cached beside them."""
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders
                      if name not in ('site-packages', 'dist-packages', '__pycache__')]
        for name in names:
            if Path(name).suffix in SUFFIXES:
                yield os.path.join(parent, name)


def shares(paths, grain):
    """The files in lists of about `grain` bytes each."""
    share, size = [], 0
    for path in paths:
        share.append(path)
        size += os.path.getsize(path)
        if size >= grain:
            yield share
            share, size = [], 0
    if share:
        yield share


def count_together(q, paths, grain):
    """Enqueue the tree of tasks; returns the Deferred at its top, and how many there are."""
    level = [q.words.count(share) for share in shares(paths, grain)]
    total = len(level)
    while len(level) > 1:
        level = [q.words.merge(level[i:i + FAN_IN]) for i in range(0, len(level), FAN_IN)]
        total += len(level)
    return level[0], total


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('folder', nargs='?', default=sysconfig.get_path('stdlib'))
    parser.add_argument('--url', default='memory://')
    parser.add_argument('--workers', type=int, default=os.cpu_count())
    parser.add_argument('--grain', type=int, default=1_000_000, metavar='BYTES')
    args = parser.parse_args()
    paths = sorted(files(os.path.abspath(args.folder)))
    if not paths:
        parser.error(f'there is no text or source file under {args.folder}')

    broker = get_broker(args.url, 'wordcount')
    with WorkerPool(broker, init, workers=args.workers):
        q = broker.queue()
        q.words.merge([]).result()   # the workers have started
        begin = time.perf_counter()
        top, total = count_together(q, paths, args.grain)
        result = top.result()
        together = time.perf_counter() - begin

    begin = time.perf_counter()
    alone = count(paths)
    once = time.perf_counter() - begin

    for word, number in result.most_common(10):
        print(f'{number:9,}  {word}')
    print(f'\n{result.total():,} words in {len(paths):,} files under {args.folder}')
    print(f'{total:,} tasks on {args.url}, {args.workers} worker processes: {together:.2f} s')
    print(f'this process alone: {once:.2f} s, {once / together:.1f} x as long')
    if alone != result:
        raise SystemExit('the two counts differ')


if __name__ == '__main__':
    main()
