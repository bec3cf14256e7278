"""The tasks: plain functions, which know nothing of queues."""
from worq import TaskSpace

text = TaskSpace('text')


@text.task
def count(line):
    return len(line.split())


@text.task
def add(numbers):
    return sum(numbers)
