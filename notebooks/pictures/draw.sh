#!/usr/bin/env bash
# Draw the pictures in this folder again, in a few minutes; needs the extra "test" and Chromium.
# On another processor training rounds differently, and other units may follow the quotes: notebook 04 finds them.
set -euo pipefail
cd "$(dirname "$0")/../.."
runs=$(mktemp -d)
trap 'rm -rf "$runs"' EXIT

text=$'A different "__missing__" method is used by "collections.defaultdict".  Raises a "KeyError" if *key* is not in the map.\n\n   >>> d = {"one": 1, "two": 2}\n   >>> list(d)\n   [\'one\', \'two\']\n'
jaxrnn train --cell lstm --hidden-size 128 --init fan_in --sequence-length 48 --batch-size 16 --steps 3000 \
    --optimizer adam --learning-rate 0.004 --schedule cosine --warmup-steps 100 --final-fraction 0 \
    --split 0.9,0.1 --validate-every 500 --run-dir "$runs/lstm"
jaxrnn plot "$runs/lstm" --kind units --units ${*:-80 85 8} --text "$text" --columns 66 --out notebooks/pictures/units.png
jaxrnn page "$runs/lstm" --text "$text" --out "$runs/model.html"
python tests/browser.py "$runs/model.html" notebooks/pictures/page.png --unit "${1:-80}" --point-at 30
