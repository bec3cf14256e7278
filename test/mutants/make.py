"""What a mutant is, and where they come from: cosmic-ray for Python, a list of edits for the rest.

A mutant is named by its file, the line that it changes and how, never by a line number, so that
a name holds as long as the line does.
"""
from __future__ import annotations

import ast
from collections import Counter
from hashlib import sha256
from pathlib import Path
import sys
import tomllib
from typing import Any, Iterator, NamedTuple

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


def all_mutants() -> list[Mutant]:
    """Those that are drawn of each Python file, and all edits; in the order of their lots.

    An edit whose text is not in its file any more, or stands there twice, is told and left out.
    """
    told = settings()
    suites = {name: tuple(tests) for name, tests in told['suites'].items()}
    found = []
    for entry in told['python']:
        found += python_mutants(entry['file'], entry['count'], suites[entry['suite']])
    for entry in told['edit']:
        try:
            found.append(edited(entry, suites[entry['suite']]))
        except ValueError as error:
            print(f'mutants.toml: {error}', file=sys.stderr)
    return sorted(found, key=lambda mutant: lot(mutant.name))


def edited(edit: dict[str, Any], tests: tuple[str, ...]) -> Mutant:
    """The mutant of an entry: in `file`, `was` becomes `becomes`.

    :raises ValueError: if that cannot be.
    """
    source = (ROOT / edit['file']).read_text('utf-8')
    was, becomes = edit['was'], edit['becomes']
    if source.count(was) != 1:
        raise ValueError(f'{edit["file"]}: {was!r} is there {source.count(was)} times, not once')
    return Mutant(edit['file'], shown(was), shown(becomes), source.replace(was, becomes),
                  tests)


def shown(text: str) -> str:
    """A text on one line."""
    return ' '.join(text.split()) or '(nothing)'


def python_mutants(file: str, count: int, tests: tuple[str, ...]) -> list[Mutant]:
    """Those that are drawn of what cosmic-ray makes of the functions of a file."""
    from cosmic_ray.ast import get_ast
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    source = (ROOT / file).read_text('utf-8')
    lines, inside, tree = source.splitlines(), function_lines(source), get_ast(source)
    operators = {name: get_operator(name)() for name in OPERATORS}
    places = [(lot(f'{file} {lines[line - 1]} {name} {nth}'), line, name, occurrence)
              for name, operator in operators.items()
              for occurrence, (line, nth) in enumerate(positions(tree, lines, operator))
              if line in inside]
    found: list[Mutant] = []
    for _, line, name, occurrence in sorted(places):
        if len(found) == count:
            break
        changed = mutate_code(source, operators[name], occurrence)
        if changed is not None and compiles(changed):
            change = shown(changed.splitlines()[line - 1])
            twins = sum(mutant[1:3] == (shown(lines[line - 1]), change) for mutant in found)
            change += f' ({twins + 1})' * (twins > 0)
            found.append(Mutant(file, shown(lines[line - 1]), change, changed, tests))
    return found


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
    """By which mutants are drawn: as good as chance, and always the same."""
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
