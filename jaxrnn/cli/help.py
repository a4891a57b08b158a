"""`jaxrnn docs` and `jaxrnn completion`: the reference of the Python API, and completion in a shell."""

import dataclasses
import os
import tempfile
import warnings
from pathlib import Path
from typing import Annotated

import tyro

import jaxrnn
from jaxrnn.config.atomic import storage_error
from jaxrnn.errors import JaxrnnError

# tyro's scripts complete no positional arguments. They are files here, which these lines let the shell complete.
_FILES = {
    "bash": "_jaxrnn() { _tyro_jaxrnn; [[ ${COMPREPLY[*]} ]] || COMPREPLY=(); }\ncomplete -o default -F _jaxrnn jaxrnn",
    "zsh": "(( compstate[nmatches] )) || _files",
    "fish": "complete --command jaxrnn --force-files",
}


@dataclasses.dataclass(frozen=True)
class Docs:
    """Build the reference of the Python API as HTML pages; needs pip install '.[docs]'."""

    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("api")
    """Directory to write the pages to; index.html is the first."""

    def run(self) -> None:
        """Write the pages."""
        try:
            import pdoc
        except ModuleNotFoundError:
            raise JaxrnnError("building the reference needs pdoc: pip install '.[docs]'") from None
        rooms = [getattr(jaxrnn, name) for name in dir(jaxrnn) if name not in (*jaxrnn.__all__, "__version__")]
        rooms.remove(jaxrnn.bench)  # a program more than a library, and one of its modules needs PyTorch
        for module in (jaxrnn, *rooms):  # pdoc does not see names that are imported when they are used
            vars(module).update({name: getattr(module, name) for name in getattr(module, "__all__", ())})
        pdoc.render.configure(docformat="google")
        with warnings.catch_warnings():  # optax has a type that refers to itself, which pdoc can't read
            warnings.filterwarnings("ignore", ".*ForwardRef.'ArrayTree'")
            names = [module.__name__ for module in (jaxrnn, *rooms)]
            try:
                self.out.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryDirectory(dir=self.out) as folder:
                    pdoc.pdoc(*names, output_directory=Path(folder))
                    for page in filter(Path.is_file, Path(folder).rglob("*")):  # all are written, or none is there
                        target = self.out / page.relative_to(folder)
                        target.parent.mkdir(exist_ok=True)
                        page.replace(target)
            except OSError as error:
                raise storage_error(self.out, error) from None
        print(self.out / "index.html")


@dataclasses.dataclass(frozen=True)
class Completion:
    """Print the script that makes a shell complete commands, flags and values."""

    shell: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="{bash,zsh,fish}", help_behavior_hint="")] = ""
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
