#!/usr/bin/env bash
# Draw the pictures in this folder again, in a few minutes; needs the extra "test" and Chromium.
# On another processor training rounds differently, and other units may follow the quotes: notebook 04 finds them.
set -euo pipefail
cd "$(dirname "$0")/../.."
runs=$(mktemp -d)
trap 'rm -rf "$runs"' EXIT

text=$'A different "__missing__" method is used by "collections.defaultdict".  Raises a "KeyError" if *key* is not in the map.\n\n   >>> d = {"one": 1, "two": 2}\n   >>> list(d)\n   [\'one\', \'two\']\n'
jaxrnn train --preset quick --steps 3000 --run-dir "$runs/gru"
jaxrnn train --preset quick --steps 3000 --cell lstm --run-dir "$runs/lstm"
jaxrnn plot "$runs/gru" "$runs/lstm" --smoothing 0.8 --out notebooks/pictures/loss.png
jaxrnn plot "$runs/lstm" --kind units --units ${*:-80 85 8} --text "$text" --columns 66 --out notebooks/pictures/units.png
jaxrnn page "$runs/lstm" --text "$text" --out "$runs/model.html"
python tests/browser.py "$runs/model.html" notebooks/pictures/page.png --unit "${1:-80}" --point-at 30
