"""One measurement, in a process of its own: ``python -m bench.drive PEER FIGURE URL [quick]``.

Its last line is a JSON object: ``values``, or ``skip`` with the reason. ``check`` as the figure
prints the versions of the peer, or ``null`` if it is not installed.
"""
from __future__ import annotations

import contextlib
import json
import sys
from typing import Any

from bench.figures import FIGURES, NotApplicable, Run, measure
from bench.peers import PEERS, installed, load, versions
from bench.proxy import CountingProxy


def main() -> None:
    name, figure, url, *quick = sys.argv[1:]
    if figure == 'check':
        print(json.dumps(versions(name) if installed(name) else None))
        return
    answer: dict[str, Any]
    try:
        with contextlib.ExitStack() as stack:
            proxy = stack.enter_context(CountingProxy(url)) if FIGURES[figure].proxied else None
            peer = stack.enter_context(load(name, proxy.url if proxy else url)) \
                if name in PEERS else None
            answer = {'values': measure(figure, Run(peer, name, url, bool(quick), proxy))}
    except NotApplicable as reason:
        answer = {'skip': str(reason)}
    print('\n' + json.dumps(answer))


if __name__ == '__main__':
    main()
