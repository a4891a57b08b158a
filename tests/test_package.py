import ast
import subprocess
import sys
from pathlib import Path

import jaxrnn

PACKAGE = Path(jaxrnn.__file__).parent
# DESIGN's order: an import only ever points up this list.
ORDER = [
    *(
        "errors",
        "checks",
        "reprs",
        "config",
        "grid",
        "presets",
        "copies",
        "files",
        "fetch",
        "text",
        "cells",
        "products",
        "in_order",
        "recurrence",
    ),
    *("sharding", "processes", "model", "loss", "optimizer", "rows", "training"),
    *("sweeps", "sampling", "evaluation", "inspection", "units"),
    *(
        "tensor_file",
        "run_files",
        "provenance",
        "checkpoint",
        "weights",
        "writing",
        "reading",
        "runs",
        "page",
        "figures",
        "bench",
        "plots",
        "watching",
        "cli",
    ),  # the shell
]


def imports(path):
    """The modules of the package that a file imports at its top, the only place for it in the core."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jaxrnn"):
            yield from ([node.module.split(".")[1]] if "." in node.module else [alias.name for alias in node.names])


def test_imports_only_point_up_the_plan():
    files = [path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py")]
    assert {file.parts[0].removesuffix(".py") for file in files} - {"__init__", "__main__"} == set(ORDER)
    for file in files:
        room = file.parts[0].removesuffix(".py")
        if room in ORDER:  # within a folder its own parts may import one another
            assert set(imports(PACKAGE / file)) <= {*ORDER[: ORDER.index(room)], *[room] * (len(file.parts) > 1)}, file


def test_every_public_name_is_there_and_type_checkers_see_the_same_ones():
    tree = ast.parse((PACKAGE / "__init__.py").read_text("utf-8"))
    typed = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert typed - {"TYPE_CHECKING", "Any"} == set(jaxrnn.__all__)
    assert all(getattr(jaxrnn, name).__doc__ or name in ("CELLS", "PRESETS") for name in jaxrnn.__all__)
    assert set(jaxrnn.__all__) <= set(dir(jaxrnn))


def test_importing_the_package_does_no_work():
    code = "import sys, jaxrnn; assert not {'jax', 'numpy', 'tyro'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
