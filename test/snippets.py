"""Runs the Python that a document shows: ``python -m test.snippets doc/guide.rst``

Blocks after ``.. code-block:: python`` are executed; examples with ``>>>`` are executed and
their output is compared, with ``...`` for anything. All happens in the order of the text and
in one namespace, that of a module, so that objects of the classes shown can be pickled.
"""
from __future__ import annotations

import doctest
from pathlib import Path
import re
import sys
from textwrap import dedent
from types import ModuleType

BLOCK = re.compile(r'^( *)\.\. code-block:: python\n((?:\1 +.*\n|[ ]*\n)*)', re.MULTILINE)


def run(path: Path, redis_url: str | None = None) -> int:
    """Run a document's snippets; returns how many blocks and examples there were.

    :param redis_url: replaces the address of Redis that documents show.
    :raises Exception: whatever a block raises.
    :raises SystemExit: if an example prints something else than the document says.
    """
    text = path.read_text('utf-8') + '\n'
    if redis_url:
        text = text.replace('redis://localhost:6379/0', redis_url)
    module = sys.modules['snippets'] = ModuleType('snippets')
    parser = doctest.DocTestParser()
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.FAIL_FAST)
    total = end = 0
    for block in [*BLOCK.finditer(text), None]:
        between = text[end:block.start() if block else len(text)]
        line = text.count('\n', 0, end)
        examples = parser.get_doctest(between, {}, path.name, str(path), line)
        examples.globs = vars(module)   # itself, where get_doctest would take a copy
        runner.run(examples, clear_globs=False)
        if runner.failures:
            raise SystemExit(f'{path}: not what the document says')
        if block:
            total += 1
            end = block.end()
            start = '\n' * text.count('\n', 0, block.start(2))
            exec(compile(start + dedent(block[2]), str(path), 'exec', dont_inherit=True),
                 vars(module))
    return total + runner.tries


if __name__ == '__main__':
    print(run(Path(sys.argv[1]), *sys.argv[2:]), 'snippets')
