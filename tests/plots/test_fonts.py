"""Figures show names and texts as they are, in any script."""

import os
import warnings
from xml.dom import minidom

import numpy as np
import pytest

from jaxrnn import plots
from jaxrnn.plots import fonts

COLUMNS = {"step": np.arange(3.0), "train_bits_per_character": np.ones(3)}
NAMES = {
    "plain": "run",
    "dollars": "a$x_1$b",
    "no-mathematics": "$\\frac$",
    "one-dollar": "5$",
    "underscore": "_run",
    "escape": "a\x1b]0;title\x07",
    "newline": "a\nb",
    "not-utf-8": os.fsdecode(b"caf\xe9"),
    "hebrew": "שלום",
    "markup": "<b>&amp;",
}


@pytest.fixture
def only_matplotlibs_fonts(monkeypatch):
    """A machine on which no other font is installed."""
    from matplotlib import font_manager, get_data_path

    own = [entry for entry in font_manager.fontManager.ttflist if entry.fname.startswith(get_data_path())]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)
    monkeypatch.setattr(font_manager, "findSystemFonts", list)
    for function in (fonts._family_with, fonts._installed_fonts):
        function.cache_clear()
    yield monkeypatch
    for function in (fonts._family_with, fonts._installed_fonts):
        function.cache_clear()


@pytest.mark.parametrize("name", NAMES.values(), ids=list(NAMES))
@pytest.mark.parametrize("format_", ["png", "svg"])
def test_any_name_is_drawn_as_it_is(tmp_path, name, format_):
    figure = plots.loss_curves(COLUMNS, labels=[name])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(tmp_path / "file", format=format_)
    (label,) = figure.axes[0].get_legend().get_texts()
    assert label.get_text() == fonts.printable(name)
    assert not label.get_parse_math()
    if format_ == "svg":
        minidom.parse(str(tmp_path / "file"))


def test_names_are_printed_as_python_writes_what_has_no_form():
    shown = {name: fonts.printable(NAMES[name]) for name in ("dollars", "escape", "newline", "not-utf-8", "hebrew")}
    assert shown == {
        "dollars": "a$x_1$b",
        "escape": r"a\x1b]0;title\x07",
        "newline": r"a\nb",
        "not-utf-8": r"caf\xe9",
        "hebrew": "שלום",
    }


@pytest.mark.parametrize(
    ("name", "package"),
    [("漢字", "fonts-noto-cjk"), ("かな", "fonts-noto-cjk"), ("한글", "fonts-noto-cjk"), ("🦄", "fonts-symbola")],
    ids=["han", "kana", "hangul", "emoji"],
)
@pytest.mark.usefixtures("only_matplotlibs_fonts")
def test_characters_that_no_font_has_are_named_once_with_a_package_that_does(tmp_path, name, package):
    figure = plots.loss_curves(COLUMNS, labels=[name])
    with pytest.warns(UserWarning, match=f"no font here has {name[0]}.*, such as the package {package}$"):
        figure.savefig(tmp_path / "file.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(tmp_path / "file.svg")


def test_a_font_that_has_a_character_is_found(tmp_path, only_matplotlibs_fonts):
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    pen = TTGlyphPen(None)
    for move, *point in (("moveTo", 0, 0), ("lineTo", 500, 700), ("lineTo", 900, 0)):
        getattr(pen, move)(tuple(point))
    pen.closePath()
    builder = FontBuilder(1000)
    builder.setupGlyphOrder([".notdef", "han"])
    builder.setupCharacterMap({ord("漢"): "han"})
    builder.setupGlyf({".notdef": pen.glyph(), "han": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (1000, 0), "han": (1000, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Just Han", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "han.ttf")
    only_matplotlibs_fonts.setattr("matplotlib.font_manager.findSystemFonts", lambda: [str(tmp_path / "han.ttf")])
    figure = plots.loss_curves(COLUMNS, labels=["漢 run"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(tmp_path / "file.png")
    (label,) = figure.axes[0].get_legend().get_texts()
    assert label.get_fontfamily()[-1] == "Just Han"
