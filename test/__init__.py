"""The tests. Run them with ``nosetests`` or ``pytest`` from the folder above."""
import atexit
import os
import shutil
import tempfile

# A Redis on this machine gives messages a key file of the user. The tests, and the
# processes they start (which may import this too), have one of their own.
if 'WORQ_TEST_STATE' not in os.environ:
    _state = tempfile.mkdtemp(prefix='worq-test-state-')
    os.environ['WORQ_TEST_STATE'] = os.environ['XDG_STATE_HOME'] = _state
    atexit.register(shutil.rmtree, _state, ignore_errors=True)
