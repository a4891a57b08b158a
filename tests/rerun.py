"""Run notebooks from top to bottom. As a program it also saves their outputs:

python tests/rerun.py notebooks/*.ipynb
"""

import sys
from pathlib import Path

import nbclient
import nbformat


def run(notebook):
    """Restart and run all, without a record of the time or the version of Python."""
    options = {"timeout": 600, "kernel_name": "python3", "record_timing": False, "coalesce_streams": True}
    nbclient.NotebookClient(notebook, **options).execute()
    notebook.metadata.language_info.pop("version", None)


def main():
    for path in map(Path, sys.argv[1:]):
        notebook = nbformat.read(path, as_version=4)
        run(notebook)
        nbformat.write(notebook, path)
        print(f"{path}: {path.stat().st_size / 1000:,.0f} kB")


if __name__ == "__main__":
    main()
