"""The flag --split: fractions in one word, with commas between them."""

import tyro


def _parse(words: list[str]) -> tuple[float, ...]:
    return tuple(map(float, words[0].split(",")))


FRACTIONS = tyro.constructors.PrimitiveConstructorSpec[tuple[float, ...]](
    nargs=1,
    metavar="FLOAT,FLOAT[,FLOAT]",
    instance_from_str=_parse,
    is_instance=lambda value: isinstance(value, tuple) and all(isinstance(item, float) for item in value),
    str_from_instance=lambda fractions: [",".join(map(str, fractions))],
)
