"""The tests. Run them with ``nosetests`` or ``pytest`` from the folder above."""
import atexit
import os
import shutil
import tempfile

# A Redis on this machine gives messages a key file of the user. The tests, and the
# processes they start, have one of their own and leave the user's alone.
if 'WORQ_SECRET' not in os.environ:
    os.environ['XDG_STATE_HOME'] = _state = tempfile.mkdtemp(prefix='worq-test-state-')
    atexit.register(shutil.rmtree, _state, ignore_errors=True)
