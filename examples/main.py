"""Has words counted by whatever pool is there: python main.py"""
import os

from worq import get_queue

URL = os.environ.get('WORQ_URL', 'redis://localhost:6379/0')
LINES = ['one result may feed', 'any number of tasks', 'in any number of processes']

if __name__ == '__main__':
    q = get_queue(URL)
    counts = [q.text.count(line) for line in LINES]
    total = q.text.add(counts)
    print(f'{total.result(timeout=60)} words')
