"""``python -m worq``, the same as ``worq``."""
import sys

from worq.cli.main import main

if __name__ == '__main__':   # a child of a pool may import it
    sys.exit(main())
