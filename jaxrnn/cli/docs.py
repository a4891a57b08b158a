"""`jaxrnn docs`: the reference of the Python API, as HTML made from the docstrings."""

import dataclasses
import warnings
from pathlib import Path
from typing import Annotated

import tyro

import jaxrnn
from jaxrnn.errors import JaxrnnError


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
        for module in (jaxrnn, *rooms):  # pdoc does not see names that are imported when they are used
            vars(module).update({name: getattr(module, name) for name in getattr(module, "__all__", ())})
        pdoc.render.configure(docformat="google")
        with warnings.catch_warnings():  # optax has a type that refers to itself, which pdoc can't read
            warnings.filterwarnings("ignore", ".*ForwardRef.'ArrayTree'")
            names = [module.__name__ for module in (jaxrnn, *rooms)]
            pdoc.pdoc(*names, "!jaxrnn.bench.torch_reference", output_directory=self.out)
        print(self.out / "index.html")
