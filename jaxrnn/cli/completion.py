"""`jaxrnn completion`: what makes a shell complete jaxrnn's commands, flags and values."""

import ast
import contextlib
import dataclasses
import io
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

import tyro

from jaxrnn.cli.bench import Suite
from jaxrnn.config import CellName
from jaxrnn.config.presets import PRESETS
from jaxrnn.errors import JaxrnnError

Shell = Literal["bash", "zsh", "fish"]

# What tyro does not know: values that a flag may have, and what may stand without one, beside names of files.
_NAMED = ("python-docs", "tinyshakespeare")
_VALUES = {
    "--preset": tuple(PRESETS),
    "--from": ("best", "last"),
    "train --cell": get_args(CellName),
    "sweep --cell": get_args(CellName),
    "import --cell": get_args(CellName),
    "train": _NAMED,
    "sweep": _NAMED,
    "prepare": _NAMED,
    "import --corpus": _NAMED,
}
_WORDS = {"bench": get_args(Suite), "completion": get_args(Shell)}  # no file there


@dataclasses.dataclass(frozen=True)
class Completion:
    """Print what makes a shell complete commands, flags and values; for bash, `source <(jaxrnn completion bash)`."""

    shell: Annotated[tyro.conf.Positional[Shell | None], tyro.conf.arg(metavar="{bash,zsh,fish}")] = None
    """Which shell; by default yours. Its script says where to put it."""

    def run(self) -> int:
        """Print the script, and return the exit code."""
        shell = self.shell or Path(os.environ.get("SHELL", "")).name
        if shell not in _SCRIPTS:
            raise JaxrnnError(f"there is completion for {', '.join(_SCRIPTS)}, not for {shell or 'an unknown shell'}")
        print(_SCRIPTS[shell](_commands()), end="")
        return 0


class _Flag(NamedTuple):
    name: str
    help: str
    takes_value: bool
    takes_file: bool
    values: tuple[str, ...]  # some that it may have


class _Command(NamedTuple):
    name: str
    help: str
    flags: list[_Flag]
    words: tuple[str, ...]  # what may stand without a flag
    takes_file: bool


def _commands() -> list[_Command]:
    """Return every command; what tyro knows of them is a Python literal in the script that it writes for bash."""
    from jaxrnn.cli import COMMANDS, command_line

    written = io.StringIO()
    with contextlib.redirect_stdout(written), contextlib.suppress(SystemExit):
        tyro.cli(
            command_line(),
            prog="jaxrnn",
            args=["--tyro-write-completion", "bash", "-"],
            config=(tyro.conf.FlagCreatePairsOff,),
        )
    found = re.search(r"^COMPLETION_SPEC = (.*)$", written.getvalue(), re.MULTILINE)
    if found is None:
        raise RuntimeError("this version of tyro says nothing of the flags")
    described = ast.literal_eval(found[1])["subcommands"]
    return [
        _Command(
            name,
            _first_sentence(kind.__doc__ or ""),
            [_flag(name, option) for option in described[name]["options"] if option["flags"] != ["--vocab-size"]],
            _VALUES.get(name) or _WORDS.get(name, ()),
            name not in _WORDS,
        )
        for name, kind in COMMANDS.items()
    ]


def _flag(command: str, option: dict[str, Any]) -> _Flag:
    name = option["flags"][-1]
    choices = tuple(choice for choice in option.get("choices", ()) if choice != "None")
    values = _VALUES.get(name) or _VALUES.get(f"{command} {name}") or choices
    text = option["description"].partition(" \u2022 ")[2] or option["description"]  # after the kind of its value
    return _Flag(
        name, _first_sentence(text), option["type"] not in ("flag", "boolean"), option["type"] == "path", values
    )


def _first_sentence(text: str) -> str:
    return re.split(r"[.;](?:\s|$)| \((?:default|required|optional)", " ".join(text.split()))[0]


def _bash(commands: list[_Command]) -> str:
    cases = []
    for command in commands:
        taking = [flag for flag in command.flags if flag.takes_value]
        values = {flag.name: " ".join(flag.values) for flag in taking if flag.values}
        cases += [f'            "{command.name} {name}") found="{found}" ;;' for name, found in values.items()]
        others = [f'"{command.name} {flag.name}"' for flag in taking if not flag.values]
        cases += [f"            {' | '.join(others)}) ;;"] if others else []
        flags = " ".join(flag.name for flag in command.flags)
        files = " files=1" if command.words and command.takes_file else ""
        cases.append(f'            "{command.name} "*) flags="{flags}" words="{" ".join(command.words)}"{files} ;;')
    names = " ".join(command.name for command in commands)
    return f"""\
# Completion of jaxrnn in bash. In ~/.bashrc: source <(jaxrnn completion bash)
# Quicker to start with: jaxrnn completion bash > ~/.local/share/bash-completion/completions/jaxrnn
_jaxrnn() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} found= flags= words= files= name
    if ((COMP_CWORD == 1)); then
        flags="--help --version" words="{names}"
    else
        case "${{COMP_WORDS[1]}} $before" in
{_lines(cases)}
        esac
    fi
    [[ $word == -* ]] && found+=" $flags" || found+=" $words"
    COMPREPLY=($(compgen -W "$found" -- "$word"))
    if [[ $files && $word != -* ]]; then
        while IFS= read -r name; do COMPREPLY+=("$name"); done < <(compgen -f -- "$word")
        compopt -o filenames 2> /dev/null
    fi
}} # where nothing is found, bash completes names of files
complete -o bashdefault -o default -F _jaxrnn jaxrnn
"""


def _zsh(commands: list[_Command]) -> str:
    cases = []
    for command in commands:
        arguments = [_zsh_flag(flag) for flag in command.flags]
        words = " ".join(command.words)
        arguments.append(f"'*:file:_jaxrnn_files {words}'" if command.takes_file else f"'*:word:({words})'")
        cases.append(f"    {command.name}) _arguments {' '.join(arguments)} ;;")
    names = " ".join(_quoted(f"{command.name}:{command.help}") for command in commands)
    return f"""\
#compdef jaxrnn
# Completion of jaxrnn in zsh. In ~/.zshrc, after compinit: source <(jaxrnn completion zsh)
# Or put it as _jaxrnn into a directory of $fpath.
_jaxrnn_files() {{
    compadd -- "$@"
    _files
}}
_jaxrnn() {{
    local -a commands=({names})
    if ((CURRENT == 2)); then
        _describe command commands
        return
    fi
    shift words
    ((CURRENT--))
    case $words[1] in
{_lines(cases)}
    esac
}}
if [[ $funcstack[1] == _jaxrnn ]]; then _jaxrnn "$@"; else compdef _jaxrnn jaxrnn; fi
"""


def _zsh_flag(flag: _Flag) -> str:
    text = re.sub(r"([\[\]:\\])", r"\\\1", flag.help)
    value = f":value:({' '.join(flag.values)})" if flag.values else ":value:_files" if flag.takes_file else ":value: "
    return _quoted(f"{flag.name}[{text}]{value if flag.takes_value else ''}")


def _fish(commands: list[_Command]) -> str:
    lines = ["# Completion of jaxrnn in fish: jaxrnn completion fish > ~/.config/fish/completions/jaxrnn.fish"]
    for command in commands:
        lines.append(f"complete -c jaxrnn -n __fish_use_subcommand -f -a {command.name} -d {_quoted(command.help)}")
        within = f"complete -c jaxrnn -n '__fish_seen_subcommand_from {command.name}'"
        if command.words:
            lines.append(f"{within}{'' if command.takes_file else ' -f'} -a '{' '.join(command.words)}'")
        for flag in command.flags:
            value = f" -x -a '{' '.join(flag.values)}'" if flag.values else " -r" if flag.takes_file else " -x"
            name = f"-l {flag.name.removeprefix('--')}{value if flag.takes_value else ''}"
            lines.append(f"{within} {name} -d {_quoted(flag.help)}")
    return _lines(lines) + "\n"


def _quoted(text: str) -> str:
    """Return a text between single quotes, for any of the shells."""
    return "'" + text.replace("'", "\u2019").replace("\\'", "") + "'"


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(lines)


_SCRIPTS = {"bash": _bash, "zsh": _zsh, "fish": _fish}
