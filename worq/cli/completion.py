"""``worq completion``: scripts for shells, made from the parsers of all commands."""
from __future__ import annotations

import argparse
from typing import NamedTuple
import shlex

from worq.cli.index import NAMES, command
from worq.cli.lists import LISTED
from worq.cli.session import Session
from worq.cli.usage import OK, Command, Parser, one_of

__all__ = ['COMPLETION', 'script']

SHELLS = ['bash', 'zsh', 'fish']
WORDS = {'help': list(NAMES), 'completion': SHELLS, 'tasks': LISTED}   #: what they want


class Option(NamedTuple):
    """One option of a command."""

    names: tuple[str, ...]
    takes: bool      #: whether a value follows
    about: str


def options(name: str) -> list[Option]:
    """The options of a command."""
    return [Option(tuple(action.option_strings), action.nargs != 0, (action.help or '').strip())
            for action in command(name).parser(name)._actions
            if action.option_strings and action.help != argparse.SUPPRESS]


def bash() -> str:
    """For bash, and by its emulation for zsh."""
    cases = '\n'.join(f'        {name}) plain={shlex.quote(" ".join(WORDS.get(name, [])))} '
                      f'dashed={shlex.quote(" ".join(_dashed(name)))};;' for name in NAMES)
    takers = sorted({one for name in NAMES for option in options(name) if option.takes
                     for one in option.names})
    return f'''\
_worq() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}
    local chosen= plain= dashed= n
    case $before in
        {"|".join(takers)}) return;;
    esac
    for ((n = 1; n < COMP_CWORD; n++)); do
        case ${{COMP_WORDS[n]}} in
            {"|".join(takers)}) ((n++));;
            -*) ;;
            *) chosen=${{COMP_WORDS[n]}}; break;;
        esac
    done
    case $chosen in
        '') plain={shlex.quote(" ".join(NAMES))} dashed='--help --version';;
{cases}
    esac
    [[ $current != -* ]] || plain=$dashed
    COMPREPLY=($(compgen -W "$plain" -- "$current"))
}}
complete -o default -F _worq worq
'''


def _dashed(name: str) -> list[str]:
    return [one for option in options(name) for one in option.names]


def zsh() -> str:
    """For zsh."""
    return f'autoload -Uz compinit bashcompinit\ncompinit\nbashcompinit\n{bash()}'


def fish() -> str:
    """For fish."""
    lines = ['complete -c worq -n __fish_use_subcommand -f']
    for name, (_, about) in NAMES.items():
        lines.append(f'complete -c worq -n __fish_use_subcommand -f -a {name} '
                     f'-d {_fished(about)}')
        for option in options(name):
            flags = ' '.join(f'-l {one[2:]}' if one.startswith('--') else f'-s {one[1:]}'
                             for one in option.names)
            lines.append(f'complete -c worq -n "__fish_seen_subcommand_from {name}" {flags}'
                         f'{" -r" * option.takes} -d {_fished(option.about)}')
    for name, words in WORDS.items():
        lines.append(f'complete -c worq -n "__fish_seen_subcommand_from {name}" -f '
                     f'-a {_fished(" ".join(words))}')
    return '\n'.join(lines) + '\n'


def _fished(text: str) -> str:
    return "'" + text.replace('\\', '\\\\').replace("'", "\\'") + "'"


def script(shell: str) -> str:
    """What a shell is to read."""
    return {'bash': bash, 'zsh': zsh, 'fish': fish}[shell]()


def completion(session: Session) -> int:
    """Print it."""
    session.out.text(script(session.args.shell).rstrip())
    return OK


def arguments(parser: Parser) -> None:
    """Of ``completion``."""
    parser.add_argument('shell', type=one_of('shell', SHELLS), metavar='SHELL',
                        help='bash, zsh or fish')


COMPLETION = Command(completion, 'Print a script that completes commands and options.', arguments,
                     '''\
  worq completion bash > ~/.local/share/bash-completion/completions/worq
  worq completion zsh >> ~/.zshrc
  worq completion fish > ~/.config/fish/completions/worq.fish''', queues='none')
