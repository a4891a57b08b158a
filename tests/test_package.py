import ast
import subprocess
import sys
from pathlib import Path

import jaxrnn

PACKAGE = Path(jaxrnn.__file__).parent
# The rooms, from the ground up: an import points to a lower floor or stays in its room.
FLOORS = [
    {"errors"},
    {"config", "distributed"},
    {"text"},
    {"kernels"},
    {"network"},
    {"training", "sampling"},
    {"evaluation"},
    {"runs"},
    {"page", "plots"},
    {"bench"},
    {"cli"},
]
ROOMS = set().union(*FLOORS)
ALONE = {"__init__", "__main__", "min_char_rnn"}  # the public names and the two programs, which no room imports


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path):
    """The rooms that a file imports from, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names = [f"{module}.{alias.name}" for alias in node.names] if module == "jaxrnn" else [module]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("jaxrnn."))


def test_imports_point_down_the_floors_only():
    files = [path for path in PACKAGE.rglob("*.py") if room_of(path) not in ALONE]
    assert {room_of(path) for path in files} == ROOMS
    for path in files:
        room = room_of(path)
        floor = next(number for number, rooms in enumerate(FLOORS) if room in rooms)
        upward = set(imported_rooms(path)) - {room}.union(*FLOORS[:floor])
        assert not upward, f"{path.relative_to(PACKAGE)} imports {upward}"


def test_the_top_of_the_package_holds_at_most_13_folders_and_6_files():
    folders = [path for path in PACKAGE.iterdir() if path.is_dir() and list(path.glob("*.py"))]
    assert len(folders) <= 13
    assert len([path for path in PACKAGE.iterdir() if path.is_file()]) <= 6


def test_every_public_name_is_there_and_type_checkers_see_the_same_ones():
    tree = ast.parse((PACKAGE / "__init__.py").read_text("utf-8"))
    typed = {alias.asname for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert typed - {None, *ROOMS, *ALONE} == set(jaxrnn.__all__)
    assert set(jaxrnn.__all__) <= set(dir(jaxrnn))


def undocumented(node, name):
    """The public functions, classes and methods without a docstring at or below a node of the syntax tree."""
    if not ast.get_docstring(node):
        yield name
    if not isinstance(node, ast.Module | ast.ClassDef):
        return  # what a function defines inside itself is not public
    for child in node.body:
        if isinstance(child, ast.FunctionDef | ast.ClassDef) and not child.name.startswith("_"):
            yield from undocumented(child, f"{name}.{child.name}")


def test_every_module_and_every_public_function_class_and_method_has_a_docstring():
    for path in PACKAGE.rglob("*.py"):
        module = str(path.relative_to(PACKAGE))
        assert not list(undocumented(ast.parse(path.read_text("utf-8")), module))


def test_importing_the_package_does_no_work():
    code = "import sys, jaxrnn; assert not {'jax', 'numpy', 'tyro'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
