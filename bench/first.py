"""A program whose life is measured: one call of a peer in memory. ``python -m bench.first NAME``"""
import sys

from bench.peers import load

if __name__ == '__main__':
    with load(sys.argv[1]) as peer:
        peer.start(wait=False)
        [value] = peer.get_all(peer.put_bulk('echo', [(1,)]))
        assert value == 1
        print('done', flush=True)
