"""Which units know what: how well single units predict properties of a text, measured on a part that is held out.

Karpathy, Johnson and Li 2015, "Visualizing and understanding recurrent networks", found such units by looking. Among
hundreds of units some follow any property by chance: hence the part held out.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxrnn.config.fields import check_in, short_repr
from jaxrnn.errors import JaxrnnError, counted

Array = NDArray[Any]


@short_repr
class Unit(NamedTuple):
    """A unit and how well it predicts a property.

    Attributes:
        layer: its layer, counted from 0 at the input.
        name: which of its values: "h", "c" or a gate.
        number: its index in the layer.
        score: on the held-out part. For a true-or-false property the balanced accuracy, the mean of the fractions of
            true and of false characters that the unit gets right: 0.5 is chance, 1 is perfect. For a number the
            correlation (Pearson), with the sign chosen on the first part: 0 is chance, 1 is perfect.
        fit_score: the same on the first part, by which units are ranked; for the best of many it is too optimistic.
        sign: 1 if the value grows with the property, -1 if it falls.
        threshold: the property is predicted to be true where sign * value > sign * threshold; None for a number.
    """

    layer: int
    name: str
    number: int
    score: float
    fit_score: float
    sign: int
    threshold: float | None


def inside_quotes(text: str) -> Array:
    """Return whether each character is between double quotes, bool [T]; an empty line closes open quotes."""
    inside, values = False, []
    for previous, character in zip(" " + text, text, strict=False):
        if character == "“" or (character == '"' and not inside):
            inside = True
        elif character in '"”' or previous == character == "\n":
            inside = False
        values.append(inside)
    return np.array(values, bool)


def line_position(text: str) -> Array:
    """Return each character's position in its line, counted from 1, float [T]; 0 for the new line at its end."""
    return np.array([number for line in text.split("\n") for number in (*range(1, len(line) + 1), 0)][:-1], float)


def capital_next(text: str) -> Array:
    """Return whether the next character is a capital, bool [T]; False for the last one."""
    return np.array([character.isupper() for character in text[1:]] + [False] * bool(text), bool)


def bracket_depth(text: str) -> Array:
    """Return how many brackets of any kind are open after each character, float [T]; an empty line closes all."""
    depth, values = 0, []
    for previous, character in zip(" " + text, text, strict=False):
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth = max(depth - 1, 0)
        elif previous == character == "\n":
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
    """Rank the units of all layers by how well they predict a property of a text, the best first, and score each.

    The first part of the text determines each unit's sign, its threshold (the one with the best balanced accuracy) and
    the ranking. `Unit.score` is measured on the rest, held out, so the score of the first unit returned is unbiased.

    Example:
        >>> quoted = np.array([0, 1, 1, 1, 0, 0] * 2)
        >>> values = np.stack([np.arange(12) % 5, 0.1 - quoted], axis=1)  # [T, H]: the second unit knows
        >>> best = find_units([{"h": values}], 'a"bc"d' * 2, "inside quotes")[0]
        >>> best.number, best.sign, best.score
        (1, -1, 1.0)

    Args:
        activations: for each layer arrays [T, H] by name, as `jaxrnn.activations` returns them for one text.
        text: the T characters that the network read; bytes as the characters with their values (Latin-1).
        target: a name from `PROPERTIES`, a function of the text, or T values; booleans or numbers.
        names: which values of the units to consider: "h", "c" or gates.
        fit_fraction: the length of the first part, as a fraction of the text. The property must vary in both parts.
    """
    if isinstance(target, str):
        if target not in PROPERTIES:
            raise JaxrnnError(f"no property {target!r}; there are {', '.join(map(repr, PROPERTIES))}, or give your own")
        target = PROPERTIES[target]
    truth = np.asarray(target(text) if callable(target) else target)
    if truth.shape != (len(text),):
        raise JaxrnnError(f"the property must have one value per character, [{len(text)}], got shape {truth.shape}")
    if truth.dtype.kind not in "biuf":
        raise JaxrnnError(f"the property must be true or false, or numbers, got {truth.dtype}")
    truth = truth if truth.dtype == bool else truth.astype(float)
    if not np.isfinite(truth).all():
        raise JaxrnnError("the property must be finite everywhere, got infinite or NaN values")
    check_in(fit_fraction, "(0, 1)", "fit_fraction")
    split = round(len(truth) * fit_fraction)
    for part, values in (("first", truth[:split]), ("held-out", truth[split:])):
        if len(np.unique(values)) < 2:
            raise JaxrnnError(
                f"the property is the same for all {counted(len(values), 'characters')} of the {part} part; give a "
                "longer text, one where it varies"
            )
    score = _score_flag if truth.dtype == bool else _score_number
    units = []
    for layer, by_name in enumerate(activations):
        for name in names:
            if name not in by_name:
                raise JaxrnnError(f"layer {layer} has no {name!r}; it has {', '.join(by_name)}")
            values = np.asarray(by_name[name], float)
            if values.ndim != 2 or len(values) != len(truth):
                raise JaxrnnError(f"{name!r} must be [T, H] with T = {len(truth)} characters, got {values.shape}")
            units += [Unit(layer, name, number, *score(unit, truth, split)) for number, unit in enumerate(values.T)]
    return sorted(units, key=lambda unit: -unit.fit_score)


def _score_flag(unit: Array, truth: Array, split: int) -> tuple[float, float, int, float | None]:
    """Return score, fit_score, sign and threshold of a unit, float [T], for a property that is true or false."""
    order = np.argsort(unit[:split], kind="stable")
    values, flags, held_out = unit[:split][order], truth[:split][order], truth[split:]
    # The balanced accuracy of "true above here", for every threshold between two different values.
    true_above = 1 - np.cumsum(flags) / flags.sum()
    false_below = np.cumsum(~flags) / (~flags).sum()
    accuracy = np.where(np.append(np.diff(values) > 0, False), (true_above + false_below) / 2, 0.5)
    best = int(np.argmax(np.abs(accuracy - 0.5)))
    sign = 1 if accuracy[best] >= 0.5 else -1
    threshold = float(values[best : best + 2].mean())
    right = (sign * unit[split:] > sign * threshold) == held_out
    score = (right[held_out].mean() + right[~held_out].mean()) / 2
    return float(score), float(0.5 + abs(accuracy[best] - 0.5)), sign, threshold


def _score_number(unit: Array, truth: Array, split: int) -> tuple[float, float, int, float | None]:
    """Return score, fit_score, sign and no threshold of a unit, float [T], for a property that is a number."""
    with np.errstate(invalid="ignore"):  # of a constant unit, whose correlation counts as 0
        parts = [np.corrcoef(unit[part], truth[part])[0, 1] for part in (slice(split), slice(split, None))]
    fit, held_out = np.nan_to_num(parts).tolist()
    sign = 1 if fit >= 0 else -1
    return sign * held_out, sign * fit, sign, None
