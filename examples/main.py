"""Has words counted by whatever pool is there: python main.py [URL]"""
import sys

from worq import get_queue

LINES = ['one result may feed', 'any number of tasks', 'in any number of processes']

if __name__ == '__main__':
    url = sys.argv[1] if len(sys.argv) > 1 else 'redis://localhost:6379/0'
    q = get_queue(url)
    counts = [q.text.count(line) for line in LINES]
    total = q.text.add(counts)
    print(f'{total.result(timeout=60)} words')
