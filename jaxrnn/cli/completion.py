"""`jaxrnn completion`: the script that makes a shell complete jaxrnn's commands, flags and values."""

import dataclasses
import os
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxrnn.errors import JaxrnnError

# tyro's scripts complete no positional arguments. They are files here, which these lines let the shell complete.
_FILES = {
    "bash": "_jaxrnn() { _tyro_jaxrnn; [[ ${COMPREPLY[*]} ]] || COMPREPLY=(); }\ncomplete -o default -F _jaxrnn jaxrnn",
    "zsh": "(( compstate[nmatches] )) || _files",
    "fish": "complete --command jaxrnn --force-files",
}


@dataclasses.dataclass(frozen=True)
class Completion:
    """Print the script that makes a shell complete commands, flags and values."""

    shell: Annotated[
        tyro.conf.Positional[Literal["bash", "zsh", "fish"] | None],
        tyro.conf.arg(metavar="{bash,zsh,fish}", help_behavior_hint=""),
    ] = None
    """Which shell; by default that of $SHELL. Where the script belongs:
    bash: in ~/.bashrc, source <(jaxrnn completion bash)
    zsh: jaxrnn completion zsh > DIR/_jaxrnn; in ~/.zshrc, fpath+=DIR before compinit
    fish: jaxrnn completion fish > ~/.config/fish/completions/jaxrnn.fish"""

    def run(self) -> None:
        """Print the script."""
        from jaxrnn.cli import parse

        shell = self.shell or Path(os.environ.get("SHELL", "")).name
        if shell not in _FILES:
            raise JaxrnnError(f"there is completion for {', '.join(_FILES)}, not for {shell or 'an unknown shell'}")
        try:
            parse(["--tyro-write-completion", shell, "-"])
        except SystemExit:  # tyro has printed its script
            print(_FILES[shell])
