"""What a mutant is, and where they come from: cosmic-ray for Python, a list of edits for the rest.

A mutant is named by its file, the line that it changes and how, never by a line number, so that
a name holds as long as the line does.
"""
from __future__ import annotations

import ast
from collections import Counter
from functools import cache
from hashlib import sha256
from pathlib import Path
import sys
import tomllib
from typing import Any, Iterable, Iterator, NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = Path(__file__).resolve().parent

#: cosmic-ray's operators that stand for mistakes which people make. Others would make mutants by
#: the hundred that are noticed at once, as ``a - b`` made ``a << b``.
OPERATORS = [f'core/{name}' for name in (
    'AddNot', 'ReplaceAndWithOr', 'ReplaceOrWithAnd', 'ReplaceTrueWithFalse',
    'ReplaceFalseWithTrue', 'ReplaceBreakWithContinue', 'ReplaceContinueWithBreak',
    'ZeroIterationForLoop', 'NumberReplacer', 'ExceptionReplacer',
    'ReplaceBinaryOperator_Add_Sub', 'ReplaceBinaryOperator_Sub_Add',
    'ReplaceBinaryOperator_Mul_FloorDiv', 'ReplaceUnaryOperator_Delete_Not',
    'ReplaceComparisonOperator_Eq_NotEq', 'ReplaceComparisonOperator_NotEq_Eq',
    'ReplaceComparisonOperator_Lt_LtE', 'ReplaceComparisonOperator_LtE_Lt',
    'ReplaceComparisonOperator_Gt_GtE', 'ReplaceComparisonOperator_GtE_Gt',
    'ReplaceComparisonOperator_Is_IsNot', 'ReplaceComparisonOperator_IsNot_Is')]


class Mutant(NamedTuple):
    """One change of one file, and the tests that should notice it."""

    file: str
    line: str             #: the first line that is changed, as it was
    change: str           #: what becomes of it
    source: str           #: of the whole file, changed
    tests: tuple[str, ...]

    @property
    def name(self) -> str:
        """Tells it from all others."""
        return f'{self.file}: {self.line} -> {self.change}'


def settings() -> dict[str, Any]:
    """What ``mutants.toml`` says."""
    return tomllib.loads((HERE / 'mutants.toml').read_text('utf-8'))


class Draw(NamedTuple):
    """A mutant that is not made yet, as that takes half a second."""

    lot: str                       #: by which they are ordered: as good as chance, always the same
    tests: tuple[str, ...]
    entry: dict[str, Any]          #: of ``mutants.toml``
    nth: int                       #: of the places of a Python file; for an edit 0


def draws() -> list[Draw]:
    """All there are, in the order of their lots."""
    told = settings()
    suites = {name: tuple(tests) for name, tests in told['suites'].items()}
    found = [Draw(lot(f'{entry["file"]} {nth}'), suites[entry['suite']], entry, nth)
             for entry in told['python'] for nth in range(entry['count'])]
    found += [Draw(lot(f'{edit["file"]} {edit["was"]} {edit["becomes"]}'),
                   suites[edit['suite']], edit, 0) for edit in told['edit']]
    return sorted(found, key=lambda draw: draw.lot)


def mutants(chosen: Iterable[Draw]) -> list[Mutant]:
    """These mutants, made.

    An edit whose text is not in its file any more, or stands there twice, is told and left out. So
    is what is no Python, but that is not worth a word.
    """
    found: list[Mutant] = []
    for draw in chosen:
        try:
            made = edited(draw) if 'was' in draw.entry else of_python(draw)
        except ValueError as error:
            print(f'mutants.toml: {error}', file=sys.stderr)
            continue
        found += [made] if made else []
    return found


def edited(draw: Draw) -> Mutant:
    """The mutant of an edit: in `file`, `was` becomes `becomes`.

    :raises ValueError: if that cannot be.
    """
    file, was, becomes = (draw.entry[name] for name in ('file', 'was', 'becomes'))
    source = (ROOT / file).read_text('utf-8')
    if source.count(was) != 1:
        raise ValueError(f'{file}: {was!r} is there {source.count(was)} times, not once')
    return Mutant(file, shown(was), shown(becomes), source.replace(was, becomes), draw.tests)


def shown(text: str) -> str:
    """A text on one line."""
    return ' '.join(text.split()) or '(nothing)'


class Place(NamedTuple):
    """Where an operator of cosmic-ray changes something."""

    lot: str
    operator: str
    occurrence: int    #: as the operator counts
    line: int          #: its number
    twins: int         #: how many of the operator's are before it on lines of the same text


def of_python(draw: Draw) -> Mutant | None:
    """What cosmic-ray makes of a function in a file; None if it is no Python, or there is none."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    file = draw.entry['file']
    source, found = places(file)
    if draw.nth >= len(found):
        return None
    place = found[draw.nth]
    changed = mutate_code(source, get_operator(place.operator)(), place.occurrence)
    if changed is None or not compiles(changed):
        return None
    line, change = (shown(text.splitlines()[place.line - 1]) for text in (source, changed))
    change += f' ({place.twins + 1})' * (place.twins > 0)
    return Mutant(file, line, change, changed, draw.tests)


@cache
def places(file: str) -> tuple[str, list[Place]]:
    """A file, and the places in its functions in the order of their lots."""
    from cosmic_ray.ast import get_ast
    from cosmic_ray.plugins import get_operator

    source = (ROOT / file).read_text('utf-8')
    lines, inside, tree = source.splitlines(), function_lines(source), get_ast(source)
    return source, sorted(
        Place(lot(f'{file} {lines[line - 1]} {name} {twins}'), name, occurrence, line, twins)
        for name in OPERATORS
        for occurrence, (line, twins) in enumerate(positions(tree, lines, get_operator(name)()))
        if line in inside)


def positions(tree: Any, lines: list[str], operator: Any) -> Iterator[tuple[int, int]]:
    """Where an operator of cosmic-ray changes something, in its order.

    Each is the number of a line, and how many there are before it on lines of this text.
    """
    from cosmic_ray.ast import ast_nodes

    before: Counter[str] = Counter()
    for node in ast_nodes(tree):
        for (line, _), _ in operator.mutation_positions(node):
            yield line, before[lines[line - 1]]
            before[lines[line - 1]] += 1


def lot(name: str) -> str:
    """By which mutants are drawn, and are ordered: as good as chance, and always the same."""
    return sha256(name.encode()).hexdigest()


def function_lines(source: str) -> set[int]:
    """The numbers of the lines inside functions: what else there is says how much of something is
    right, which is mostly a guess and no test's business."""
    return {number for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            for number in range(node.body[0].lineno, (node.end_lineno or 0) + 1)}


def compiles(source: str) -> bool:
    """Whether it is Python; what is none says nothing of the tests."""
    try:
        compile(source, 'mutant', 'exec')
    except SyntaxError:
        return False
    return True
