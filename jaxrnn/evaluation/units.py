"""Which units know what: properties of a text, and how well single units tell them on a part they were not chosen by.

Karpathy, Johnson and Li 2015, "Visualizing and understanding recurrent networks", found such units by looking. Among
hundreds of units some follow any property by chance, so here a unit is chosen on the first part of a text and scored on
the rest.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxrnn.config.reprs import of_fields
from jaxrnn.errors import JaxrnnError

Array = np.ndarray[Any, np.dtype[Any]]


class Unit(NamedTuple):
    """A unit and how well it tells a property.

    Attributes:
        layer: its layer, counted from 0 at the input.
        name: which of its values: "h", "c" or a gate.
        number: its place in the layer, counted from 0.
        score: on the held-out part. Of a true-or-false property the balanced accuracy, the mean of the shares of true
            and of false characters that the unit gets right: 0.5 is chance, 1 is perfect. Of a number the correlation
            (Pearson) in the direction of the first part: 0 is chance, 1 is perfect, below 0 is the wrong way round.
        fit_score: the same on the first part, by which the units are ranked; the best of many, so too good.
        sign: 1 if the value grows with the property, -1 if it falls.
        threshold: the property is taken for true where sign * value > sign * threshold; None for a number.
    """

    layer: int
    name: str
    number: int
    score: float
    fit_score: float
    sign: int
    threshold: float | None

    def __repr__(self) -> str:
        """Round the numbers."""
        return of_fields(self, **self._asdict())


def inside_quotes(text: str) -> Array:
    """Return whether each character stands between double quotes, bool [T]; an empty line closes what is open."""
    inside, values = False, []
    for before, character in zip(" " + text, text, strict=False):
        if character == "“" or (character == '"' and not inside):
            inside = True
        elif character in '"”' or before == character == "\n":
            inside = False
        values.append(inside)
    return np.array(values, bool)


def line_position(text: str) -> Array:
    """Return how many characters of its line are read with each character, float [T]; 0 at a line's end."""
    position, values = 0, []
    for character in text:
        position = 0 if character == "\n" else position + 1
        values.append(position)
    return np.array(values, float)


def capital_next(text: str) -> Array:
    """Return whether the character after each is a capital, bool [T]; after the last comes none."""
    return np.array([character.isupper() for character in text[1:]] + [False] * bool(text), bool)


def bracket_depth(text: str) -> Array:
    """Return how many brackets, of any kind, are open after each character, float [T]; an empty line closes all."""
    depth, values = 0, []
    for before, character in zip(" " + text, text, strict=False):
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth = max(depth - 1, 0)
        elif before == character == "\n":
            depth = 0
        values.append(depth)
    return np.array(values, float)


Property = Callable[[str], Any]
PROPERTIES: dict[str, Property] = {
    "inside quotes": inside_quotes,
    "line position": line_position,
    "capital next": capital_next,
    "bracket depth": bracket_depth,
}


def find_units(
    activations: Sequence[Mapping[str, Any]],
    text: str,
    target: str | Property | Sequence[Any] | Array,
    *,
    names: Sequence[str] = ("h",),
    fit_fraction: float = 0.5,
) -> list[Unit]:
    """Rank units by how well they tell a property of a text, and score each on a part that had no say in the ranking.

    On the first part of the text each unit gets a sign and, where the property is true or false, the threshold with
    the best balanced accuracy; by the score there the units are ranked. `Unit.score` is of the rest of the text, so
    that of the first unit in the list is what its choice is worth.

    Example:
        >>> quoted = np.array([0, 1, 1, 1, 0, 0] * 2)
        >>> values = np.stack([np.arange(12) % 5, 0.1 - quoted], axis=1)  # [T, H]: the second unit knows
        >>> best = find_units([{"h": values}], 'a"bc"d' * 2, "inside quotes")[0]
        >>> best.number, best.sign, best.score
        (1, -1, 1.0)

    Args:
        activations: of each layer arrays [T, H] by name, as `jaxrnn.activations` returns them for one text.
        text: the T characters that were read; of a vocabulary of bytes one character (Latin-1) a byte.
        target: the name of one of `PROPERTIES`, a function of the text, or T values; true or false, or numbers.
        names: which values of the units to look at: "h", "c", or gates.
        fit_fraction: how much of the text comes before the held-out part.

    Returns:
        All units of all layers, the best first.

    Raises:
        JaxrnnError: the lengths differ, a name is unknown, or the property does not vary in one of the two parts.
    """
    wanted = _target(text, target)
    split = round(len(wanted) * fit_fraction)
    for part, values in (("first", wanted[:split]), ("held-out", wanted[split:])):
        if len(np.unique(values)) < 2:
            raise JaxrnnError(
                f"the property is the same for all {len(values)} characters of the {part} part; give a longer text, "
                "one where it varies"
            )
    score = _score_flags if wanted.dtype == bool else _score_numbers
    found = []
    for layer, by_name in enumerate(activations):
        for name in names:
            if name not in by_name:
                raise JaxrnnError(f"layer {layer} has no {name!r}; it has {', '.join(by_name)}")
            values = np.asarray(by_name[name], float)
            if values.ndim != 2 or len(values) != len(wanted):
                raise JaxrnnError(f"{name!r} must be [T, H] with T = {len(wanted)} characters, got {values.shape}")
            found += [Unit(layer, name, number, *row) for number, row in enumerate(score(values, wanted, split))]
    return sorted(found, key=lambda unit: -unit.fit_score)


def _target(text: str, target: str | Property | Sequence[Any] | Array) -> Array:
    if isinstance(target, str):
        if target not in PROPERTIES:
            raise JaxrnnError(f"no property {target!r}; there are {', '.join(map(repr, PROPERTIES))}, or give your own")
        target = PROPERTIES[target]
    wanted = np.asarray(target(text) if callable(target) else target)
    if wanted.shape != (len(text),):
        raise JaxrnnError(f"the property must have one value a character, [{len(text)}], got shape {wanted.shape}")
    if wanted.dtype != bool and not np.issubdtype(wanted.dtype, np.number):
        raise JaxrnnError(f"the property must be true or false, or numbers, got {wanted.dtype}")
    return wanted if wanted.dtype == bool else wanted.astype(float)


_Row = tuple[float, float, int, float | None]  # score, fit_score, sign, threshold


def _score_flags(values: Array, wanted: Array, split: int) -> list[_Row]:
    rows: list[_Row] = []
    fit, rest = wanted[:split], wanted[split:]
    for column in values.T:
        order = np.argsort(column[:split], kind="stable")
        ordered, flags = column[:split][order], fit[order]
        # Balanced accuracy of "true above here", for every place between two values that differ.
        true_above = 1 - np.cumsum(flags) / flags.sum()
        false_below = np.cumsum(~flags) / (~flags).sum()
        accuracy = np.where(np.append(np.diff(ordered) > 0, False), (true_above + false_below) / 2, 0.5)
        best = int(np.argmax(np.abs(accuracy - 0.5)))
        sign = 1 if accuracy[best] >= 0.5 else -1
        threshold = float(ordered[best : best + 2].mean())
        said = sign * column[split:] > sign * threshold
        held_out = (said[rest].mean() + (~said[~rest]).mean()) / 2
        rows.append((float(held_out), float(0.5 + abs(accuracy[best] - 0.5)), sign, threshold))
    return rows


def _score_numbers(values: Array, wanted: Array, split: int) -> list[_Row]:
    rows: list[_Row] = []
    for column in values.T:
        fit, held_out = (_correlation(column[part], wanted[part]) for part in (slice(None, split), slice(split, None)))
        sign = 1 if fit >= 0 else -1
        rows.append((sign * held_out, sign * fit, sign, None))
    return rows


def _correlation(a: Array, b: Array) -> float:
    """Return Pearson's correlation; 0 where one of the two is constant."""
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale else 0.0
