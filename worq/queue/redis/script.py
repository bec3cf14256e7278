"""Lua files made callable.

Line 1 of ``lua/VERB.lua`` is the verb's signature, and its binding::

    -- take(P; pool, limit: int, lease: int) -> {{delivery, ...}, pause}

The plain names after the semicolon become locals, numbers where they are `int`; what comes
in braces is repeated, and `rest` is the index where that begins. Line 2 is what the verb
does to a task. What is in ``lua/VERB.first.lua`` goes before the prelude, and what is in
``lua/VERB.plain.lua`` where that has the clock: the script ends there if that answers anything.

Both are comments, and these two lines are where everything goes that Redis gets beside the
file itself: Dragonfly's flags must be a comment in a line of their own, the first; the
parts of ``lua/prelude/`` are folded to one line, the second. So the number of a line in an
error is its true number in the file.
"""
from __future__ import annotations

import re
from hashlib import sha1
from pathlib import Path
from typing import Any, Callable, NamedTuple, Sequence

from redis.exceptions import NoScriptError, ResponseError

from worq import const, tally

__all__ = ['Script', 'load']

FOLDER = Path(__file__).parent / 'lua'
BASE = '4'   # the files of the prelude before this one are the base of all others ...
PLAIN = '3_t'  # ... and those before this one of what a script does first, too
FLAGS = '--!df flags=allow-undeclared-keys'

SIGNATURE = re.compile(r'-- (\w+)\(P; ?(.*?)\) -> ')
PARAMETER = re.compile(r'(\w+)(: int)?')
DEFINED = re.compile(r'^local (?:function )?([\w, ]+)', re.MULTILINE)
CONSTANT = re.compile(r'\b[A-Z][A-Z_]+\b')
WORD = re.compile(r'[A-Za-z_]\w*')

#: What Lua knows by name. They are replaced by their values in the text, since a local
#: would be captured by function after function, at each call of a script.
CONSTANTS: dict[str, int | str] = {
    name: getattr(const, name) for name in (
        'NONCE', 'LEASE', 'MAX_DELIVERIES', 'TICK', 'POLL', 'TICK_LIMIT', 'BUDGET', 'GAP', 'GRACE',
        'COOLDOWN', 'INLINE', 'SMALL', 'INBOX_TTL', 'POOL_TTL', 'IGNORE_RESULT', 'PASS',
        'GATE', 'NEEDED', 'LENT', 'LINKS', 'PUT_LIMIT', 'LOOK', 'AHEAD', 'LEASES_LIMIT', 'REACH',
        'CROWD', 'IDLE', 'OVERTAKEN', 'UNKNOWN_GRACE', 'TALLIED', 'MINUTES', 'RECENT', 'SCANNED',
        'ENDED', 'DEATHS', 'CAUSE', 'CONTENT', 'NOTE', 'NOTES', 'NOTE_NAME', 'KEEP_FAILED',
        'FAILURES', 'FAILURES_BYTES', 'PAUSES', 'PROGRESS', 'KIN', 'NODES', 'TELLS')}
CONSTANTS.update(
    PENDING='p', SCHEDULED='s', ENQUEUED='e', PROCESSING='a', COMPLETED='c',   # states
    RESULT_TTL=const.RESULT_TIMEOUT * 1000,   # ms
    SPAN=const.SPAN * 1000,   # ms
    TIMES=const.COUNT,
    SOON=const.IDLE + const.TICK,   # ms
    WAKES=32,       # tokens at most: each wakes one idle pool
    FIELD=64,       # bytes: a longer value would make a hash a hashtable, of twice the size
    CARRIED=200,    # outcomes of arguments at most that go with a take ...
    BODIES=64,      # ... and bytes of a long body that count as one of such an outcome
    CHUNK=4000,     # an even number of arguments that fits the stack of Lua
    FAR=1000,       # entries of a list that are looked at from either end
    SEATED=4000,    # ms of a lease that a repair gives; pools beat each second
    SERIAL=18,      # digits of the moment in us at which a task was put aside
    RECORD=100,     # names and values in the hash of a task at most
    DAMAGED='its record in the queue was damaged',
    ALONE=str(const.NEEDED),   # that flag, and no other
    MADE='m',       # by the one task that waits for it, to return it
    MOST=12,        # steps of a walk through all keys that a pool of a crowd leaves to others
    EDGES=10,       # of one task that are followed before the other search has its turn
    MINUTE=tally.MINUTE, OTHER=tally.OTHER, CELL=tally.LONGEST,
    SCHEMA=1,       # of what is stored, see "Changing what is stored" in doc/architecture.rst ...
    REVISION=0)     # ... and how often something was added since, that others may leave alone


class Script(NamedTuple):
    """One verb. Called with a function that sends a command and returns its reply."""

    name: str
    source: str
    sha: str

    def __call__(self, send: Callable[..., Any], key: str, *args: Any) -> Any:
        """Run it by its digest; a server that does not know it gets it, once.

        :raises ResponseError: what Redis says, with lines of the Lua file by its name.
        """
        try:
            try:
                return send('EVALSHA', self.sha, '1', key, *args)
            except NoScriptError:
                send('SCRIPT', 'LOAD', self.source)
                return send('EVALSHA', self.sha, '1', key, *args)
        except ResponseError as error:
            text = re.sub(r'@?user_script: ?(\d+)', rf'{self.name}.lua:\1', str(error))
            raise type(error)(text) from None


class Part(NamedTuple):
    """A file of the prelude: its text in one line, and the names that it has for others."""

    text: str
    names: set[str]
    name: str = ''       # of the file, see `assemble`


def load(test_clock: bool = False) -> dict[str, Script]:
    """All verbs by name; with a clock that tests move, if they ask for it."""
    return verbs(prelude(test_clock))


def verbs(parts: Sequence[Part]) -> dict[str, Script]:
    """All verbs by name, with these parts of the prelude."""
    texts = {file.name: file.read_text('utf-8') for file in FOLDER.glob('*.lua')}
    # what ``put`` does is in another verb, too
    whole = part(texts['put.lua'].split('\n', 2)[2]).text
    texts['put_noted.lua'] = texts['put_noted.lua'].replace('PUT\n', f'{whole}\n')
    early = {name: part(texts.pop(name)).text for name in list(texts) if name.count('.') > 1}
    return {name[:-4]: assemble(text, parts, early.get(f'{name[:-4]}.first.lua', ''),
                                early.get(f'{name[:-4]}.plain.lua', ''))
            for name, text in texts.items()}


def prelude(test_clock: bool = False) -> list[Part]:
    """The parts that scripts share, in their order."""
    paths = sorted((FOLDER / 'prelude').glob('*.lua'))
    movable = {path.name.replace('.test', '') for path in paths if '.test' in path.name}
    return [part(path.read_text('utf-8'), path.name) for path in paths
            if ('.test' in path.name if path.name.replace('.test', '') in movable and test_clock
                else '.test' not in path.name)]


def part(text: str, name: str = BASE) -> Part:
    """Fold a file of the prelude; no string of ours has two dashes in a row."""
    lines = (re.sub(r'--.*', '', line).strip() for line in text.split('\n'))
    names = set(WORD.findall(' '.join(DEFINED.findall(text))))
    return Part(' '.join(line for line in lines if line), names, name)


def assemble(text: str, parts: Sequence[Part], first: str = '', plain: str = '') -> Script:
    """What Redis gets for the file of a verb: the flags, what it needs, the file itself.

    All but the base of the prelude is in a function of its own. A call of a script makes each
    function anew, and what one captures of the function that it is made in is searched for, all
    that is captured, one after the other; but what that has captured in turn is at hand.
    """
    signature, _, body = text.split('\n', 2)
    match = SIGNATURE.match(signature)
    if match is None:
        raise ValueError(f'no signature: {signature!r}')
    name, parameters = match.groups()
    # A clock of tests ends keys by the way; and all look at the number in `m`.
    words = set(WORD.findall(body + plain)) | {'drop', 'newer'}
    first = first.replace('CLOCK', next(part.text for part in parts if '2_clock' in part.name))
    used: list[Part] = []
    for part in reversed(parts):
        if words & part.names:
            words.update(WORD.findall(part.text))
            used.insert(0, part)
    if plain:
        plain = f'local plain = (function() {plain} end)() if plain then return plain end'
    base = [*(part.text for part in used if part.name < PLAIN), plain,
            *(part.text for part in used if PLAIN <= part.name < BASE)]
    needed = [part.text for part in used if part.name >= BASE]
    head = ' '.join(['local P = KEYS[1]:sub(1, -2)', first, *base, 'return (function()', *needed,
                     bind(parameters)])
    source = CONSTANT.sub(lambda match: value(match[0]), f'{FLAGS}\n{head}\n{body}end)()')
    return Script(name, source, sha1(source.encode()).hexdigest())


def value(name: str) -> str:
    """A name in capitals as Lua gets it; those of Lua stay as they are."""
    if name == 'STAMP':   # what a queue of this schema and revision has in `m`
        return repr('{SCHEMA}.{REVISION}'.format(**CONSTANTS).removesuffix('.0'))
    return repr(CONSTANTS[name]) if name in CONSTANTS else name


def bind(parameters: str) -> str:
    """The locals of a signature's parameters, and `rest`."""
    bound = ''
    count = 0
    for count, parameter in enumerate(parameters.split(', ')):
        match = PARAMETER.fullmatch(parameter)
        if match is None:
            break
        name, number = match.groups()
        value = f'ARGV[{count + 1}]'
        bound += f'local {name} = {f"tonumber({value})" if number else value} '
    else:
        count += 1
    return f'{bound}local rest = {count + 1}'
