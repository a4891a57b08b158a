import dataclasses
import json
import re
import shlex
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from browser import open_browser

from jaxrnn.cli import main
from jaxrnn.config import ModelConfig, TrainConfig, to_json
from jaxrnn.errors import JaxrnnError
from jaxrnn.evaluation.activations import activations
from jaxrnn.network import LSTM, Cell
from jaxrnn.network.model import forward, initial_carry
from jaxrnn.page import page
from jaxrnn.runs.checkpoint import load_checkpoint, save_checkpoint
from jaxrnn.runs.checkpoint_files import checkpoint_path
from jaxrnn.text import Vocabulary, document_starts
from jaxrnn.training.step import init_train_state

TEXT = 'To be, or "not" to be:\n\tthat is.'
UNICODE = "naïve 😀👩\u200d🚀 \U00020bb7野家 日本\n"
METRICS = [
    {"step": step, "smooth_loss_nats": 25.0, "train_bits_per_character": 6 - step / 100, "seconds": 0.1}
    for step in (0, 100, 200)
]
METRICS[2]["validation_bits_per_character"] = 2.5


def save_run(path, text, source="/somewhere/else/verse.txt", reset_on="", min_count=1, **model):
    """Save a run of random weights, large enough to move the states, with nonzero biases."""
    vocabulary = Vocabulary.of(text, min_count)
    model = {"hidden_size": 12, "init_scale": 0.5, **model}
    model = ModelConfig(vocab_size=len(vocabulary), **model)
    config = TrainConfig(corpus=source, model=model, reset_on=reset_on)
    state, random = jax.jit(init_train_state, static_argnums=1)(jax.random.key(0), config), np.random.default_rng(0)
    biased = [leaf + random.normal(scale=0.25, size=leaf.shape).astype(leaf.dtype) for leaf in _biases(state)]
    state = _with_biases(state, biased)
    (path / "checkpoints").mkdir(parents=True)
    corpus = {"source": source, "sha256": "0" * 64, "length": 1000}
    save_checkpoint(checkpoint_path(path / "checkpoints", 0), state, config, vocabulary, corpus=corpus)
    (path / "config.json").write_text(to_json(config))
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in METRICS) + '{"step": 3')
    return state.params, config.model, vocabulary


def _biases(state):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(state.params) if leaf.ndim == 1]


def _with_biases(state, biases):
    biases = iter(biases)
    params = jax.tree.map(lambda leaf: next(biases) if leaf.ndim == 1 else leaf, state.params)
    return state._replace(params=params)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = open_browser(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


class Opened:
    """A page in the browser, used as a person uses it."""

    def __init__(self, driver, path):
        self.driver = driver
        driver.get_log("browser"), driver.get_log("performance")
        driver.get(path.as_uri())

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def find(self, name):
        return self.driver.find_element("id", name)

    def text_of(self, name):
        return self.run("return document.getElementById(arguments[0]).textContent", name)

    def wait(self, condition):
        """Wait until a JavaScript expression is true."""
        until = time.monotonic() + 10
        while not self.run(f"return Boolean({condition})"):
            assert time.monotonic() < until, condition
            time.sleep(0.02)

    def set_text(self, text):
        self.run("field.value = arguments[0]; field.dispatchEvent(new Event('input'))", text)
        self.wait("read === items.length")

    def colors(self):
        return self.run("return items.map((item) => getComputedStyle(item.span).backgroundColor)")

    def focus(self):
        return self.run("return document.activeElement.id || document.activeElement.value")

    def press(self, *keys):
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.keys import Keys

        for key in keys:
            ActionChains(self.driver).send_keys(getattr(Keys, key, key)).perform()


@pytest.fixture
def opened(browser, tmp_path):
    """Save a run, make its page with the command line, open it; at the end the browser's log must be empty."""

    def open_page(text=TEXT, *flags, opening="To be", **options):
        run = tmp_path / "run"
        saved = save_run(run, text, **options)
        file = tmp_path / "model.html"
        assert main(["page", str(run), "--out", str(file), "--text", opening, *flags]) == 0
        return Opened(browser, file), *saved

    yield open_page
    assert browser.get_log("browser") == []


MODELS = [
    pytest.param(TEXT, {"cell": "tanh"}, id="tanh"),
    pytest.param(TEXT, {"cell": "relu", "init_scale": 0.2}, id="relu"),
    pytest.param(TEXT, {"cell": "gru"}, id="gru"),
    pytest.param(TEXT, {"cell": "lstm"}, id="lstm"),
    pytest.param(TEXT, {"cell": "gru", "num_layers": 2}, id="gru, 2 layers"),
    pytest.param(TEXT, {"cell": "lstm", "num_layers": 3}, id="lstm, 3 layers"),
    pytest.param(UNICODE, {"cell": "tanh"}, id="beyond the BMP"),
    pytest.param(UNICODE.encode(), {"cell": "gru"}, id="bytes"),
]


@pytest.mark.parametrize(("text", "model"), MODELS)
def test_states_and_probabilities_are_those_of_jax(opened, text, model):
    window, params, config, vocabulary = opened(text, **model)
    typed = text if isinstance(text, str) else text.decode()
    window.set_text(typed)
    rows = window.run(
        "const hidden = (item) => network.layers.map((_, layer) => [...network.hidden(item.carry, layer)]);"
        "const shares = (item) => [...softmax(network.logits(item.carry))];"
        "return items.map((item) => [item.shown, item.tokens, hidden(item), shares(item), item.bits])"
    )
    shown, tokens, hidden, probabilities, bits = zip(*rows, strict=True)
    assert "".join(shown) == typed
    encoded = vocabulary.encode(text)
    assert [token for group in tokens for token in group] == encoded.tolist()
    ends = np.cumsum([len(group) for group in tokens]) - 1  # of a character of several bytes, the last
    layers = activations(params, jnp.asarray(encoded, jnp.int32), config)
    for number, by_name in enumerate(layers):
        np.testing.assert_allclose([row[number] for row in hidden], by_name["h"][ends], atol=1e-5)
    tokens_1 = jnp.asarray(encoded, jnp.int32)[:, None]
    logits, _ = jax.jit(forward, static_argnums=3)(params, initial_carry(1, config), tokens_1, config)
    expected = jax.nn.log_softmax(logits[:, 0])
    np.testing.assert_allclose(probabilities, np.exp(expected)[ends], atol=1e-5)
    surprises = -np.asarray(expected)[np.arange(len(encoded) - 1), encoded[1:]] / np.log(2)
    assert bits[0] is None
    groups = np.split(surprises, ends[:-1])[1:]
    np.testing.assert_allclose(bits[1:], [group.sum() for group in groups], atol=1e-4)


def test_bfloat16_products_are_rounded_as_jax_rounds_them(opened):
    window, params, config, vocabulary = opened(TEXT, cell="gru", products="bfloat16")
    window.set_text(TEXT[:6])
    (values,) = activations(params, jnp.asarray(vocabulary.encode(TEXT[:6]), jnp.int32), config)
    np.testing.assert_allclose(window.run("return items.map((item) => [...item.carry])"), values["h"], atol=1e-4)


def test_half_the_weights_are_float16_to_the_last_bit(opened):
    window, params, _, _ = opened(TEXT, "--half", cell="tanh")
    kept = window.run("return [...network.layers[0].Whh]")
    assert kept == np.asarray(params.layers[0].Whh, np.float16).astype(np.float32).ravel().tolist()
    halves = np.array([0, 1, 0x3FF, 0x400, 0x3C00, 0x7BFF, 0x8001, 0xC3A7], np.uint16)
    ours = window.run("return arguments[0].map(fromFloat16)", halves.tolist())
    assert ours == halves.view(np.float16).astype(float).tolist()


def test_typing_shows_units_surprise_and_the_next_characters(opened):
    window, params, config, vocabulary = opened(cell="tanh")
    window.find("text").send_keys(" or")
    window.wait("read === items.length && items.length === 8")
    at_unit = window.colors()
    assert len(set(at_unit)) > 4
    assert "r · character 8 of 8" in window.text_of("at")
    logits, _ = forward(
        params, initial_carry(1, config), jnp.asarray(vocabulary.encode("To be or"), jnp.int32)[:, None], config
    )
    share = np.asarray(jax.nn.softmax(logits[-1, 0]))
    rows = window.run("return [...document.querySelectorAll('#next li')].map((row) => row.lastChild.textContent)")
    shown = [float(row.removesuffix(" %")) for row in rows]
    np.testing.assert_allclose(shown, 100 * np.sort(share)[::-1][:5], atol=0.51)
    window.press("ARROW_LEFT", "ARROW_LEFT")
    window.wait("document.getElementById('at').textContent.startsWith('space · character 6 of 8')")
    window.run("document.querySelector('[value=surprise]').click()")
    assert window.colors() != at_unit
    window.wait("document.getElementById('live').textContent.includes('Next: ')")  # said once the caret rests


def test_hovering_inspects_the_character_under_the_pointer(opened):
    from selenium.webdriver.common.action_chains import ActionChains

    window, *_ = opened(cell="tanh")
    ActionChains(window.driver).move_to_element(window.run("return items[1].span")).perform()
    window.wait("document.getElementById('at').textContent.startsWith('o · character 2 of 5')")
    ActionChains(window.driver).move_to_element(window.find("units-title")).perform()
    window.wait("document.getElementById('at').textContent.startsWith('e · character 5 of 5')")


def test_every_control_works_with_the_keyboard_alone(opened):
    window, params, config, vocabulary = opened(cell="gru", num_layers=2)
    window.run("choose(0)")
    visited = []
    for _ in range(12):
        window.press("TAB")
        visited.append(window.focus())
    assert [
        name for name in visited if name in ("theme", "unit", "text", "write", "temperature", "clear", "layer", "units")
    ]
    assert {"theme", "text", "write", "temperature", "clear", "layer", "unit", "units"} <= set(visited)
    window.run("document.getElementById('units').focus()")
    before = window.colors()
    window.press("ARROW_RIGHT", "ARROW_RIGHT")
    assert window.find("unit").get_attribute("value") == "2"
    assert window.find("units").get_attribute("aria-activedescendant") == "unit-2"
    assert window.colors() != before
    outline = window.run("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    window.press("END", "ARROW_RIGHT")
    assert window.find("unit").get_attribute("value") == "11"
    layers = activations(params, jnp.asarray(vocabulary.encode("To be"), jnp.int32), config)
    value = float(window.find("unit-11").get_attribute("aria-label").removeprefix("unit 11, "))
    assert value == pytest.approx(float(layers[1]["h"][-1, 11]), abs=0.006)
    window.run(
        "const layer = document.getElementById('layer'); layer.value = '0';"
        "layer.dispatchEvent(new Event('change', {bubbles: true}))"
    )
    value = float(window.find("unit-11").get_attribute("aria-label").removeprefix("unit 11, "))
    assert value == pytest.approx(float(layers[0]["h"][-1, 11]), abs=0.006)


def test_the_network_writes_until_it_is_stopped(opened):
    window, *_, vocabulary = opened(cell="lstm")
    window.find("temperature").send_keys("\ue012" * 4)  # arrow left
    assert window.text_of("temperature-value") == "0.80"
    window.find("write").send_keys("\n")
    window.wait("items.length > 12")
    assert window.text_of("write") == "Stop"
    window.run("document.getElementById('temperature').value = 0.1")  # while it writes
    window.press("ESCAPE")
    length = window.run("return items.length")
    time.sleep(0.2)
    assert window.run("return items.length") == length
    text = window.find("text").get_attribute("value")
    assert text.startswith("To be")
    assert len(text) == length
    assert set(text) <= set(vocabulary.symbols)
    assert window.text_of("live").endswith(text[5:])
    assert window.text_of("write") == "Go on writing"
    window.find("clear").click()
    assert window.run("return [items.length, field.value, document.activeElement.id]") == [0, "", "text"]
    window.find("write").click()  # from nothing
    window.wait("items.length > 2")
    window.find("write").click()


def test_what_it_writes_goes_on_from_the_token_that_it_begins_with(opened):
    window, params, config, vocabulary = opened(cell="gru", opening="T")
    window.find("clear").click()
    token, drawn = window.run(
        "const made = drawCharacter(1, () => 0.3); replace(0, 0, made); readSome(Infinity);"
        "field.value = made[0].shown;"
        "return [made[0].tokens[0], softmax(network.logits(carryAfter(0)))]"
    )
    first = max(0, vocabulary.symbols.find("\n"))
    logits, _ = forward(params, initial_carry(1, config), jnp.array([[first], [token]]), config)
    np.testing.assert_allclose(drawn, jax.nn.softmax(logits[-1, 0]), atol=2e-6)
    window.set_text("e")  # typed, and so read from the beginning
    logits, _ = forward(params, initial_carry(1, config), vocabulary.encode("e")[:, None], config)
    typed = window.run("return softmax(network.logits(carryAfter(0)))")
    np.testing.assert_allclose(typed, jax.nn.softmax(logits[-1, 0]), atol=2e-6)


def test_draws_follow_the_softmax(opened):
    window, params, config, vocabulary = opened(cell="tanh")
    draws = window.run(
        "return Array.from({length: 20000}, (_, n) => drawCharacter(0.7, () => (n + 0.5) / 20000)[0].tokens[0])"
    )
    logits, _ = forward(
        params, initial_carry(1, config), jnp.asarray(vocabulary.encode("To be"), jnp.int32)[:, None], config
    )
    shares = np.bincount(draws, minlength=len(vocabulary)) / len(draws)
    np.testing.assert_allclose(shares, jax.nn.softmax(logits[-1, 0] / 0.7), atol=2e-4)
    assert len(set(window.run("return Array.from({length: 200}, () => drawCharacter(1)[0].shown)"))) > 4


def test_bytes_become_characters_and_broken_ones_keep_their_tokens(opened):
    data = "é野😀x".encode()
    window, *_, vocabulary = opened(data, opening="é", cell="tanh")
    stream = [*"😀".encode(), 0xC3, *b"x", 0xA9, *"é".encode(), 0xF0, 0x9F, *"野".encode()]
    tokens = vocabulary.encode(bytes(stream)).tolist()
    made = window.run("const take = vocabulary.decoder(); return arguments[0].flatMap(take)", tokens)
    assert "".join(item["shown"] for item in made) == "😀�x�é��野"
    assert [token for item in made for token in item["tokens"]] == tokens
    window.run(
        "replace(items.length, 0, arguments[0]);field.value += arguments[0].map((item) => item.shown).join('')",
        made,
    )
    window.find("text").send_keys("x")  # what stands before it keeps its tokens
    window.wait("items.at(-1).shown === 'x' && read === items.length")
    assert window.run("return items[2].tokens") == vocabulary.encode(b"\xc3").tolist()


def test_characters_never_seen_are_marked_and_not_fed(opened):
    window, params, config, vocabulary = opened(cell="lstm")
    window.set_text("Tox😀 be")
    assert (
        window.run("return items.map((item) => item.span.className.includes('unknown'))")
        == [False] * 2 + [True] * 2 + [False] * 3
    )
    assert "Never seen in training, and so marked and skipped: x 😀" in window.text_of("notice")
    (values,) = activations(params, jnp.asarray(vocabulary.encode("To be"), jnp.int32), config)
    np.testing.assert_allclose(window.run("return [...network.hidden(items.at(-1).carry)]"), values["h"][-1], atol=1e-5)
    window.set_text("😀")
    assert window.run("return document.querySelectorAll('#next li').length") == 0
    window.set_text("To")
    assert not window.find("notice").is_displayed()


def test_the_unknown_symbol_replaces_characters_never_seen(opened):
    window, *_, vocabulary = opened("aabbc", cell="tanh", min_count=2, opening="a")
    window.set_text("abxc")
    assert [token for (token,) in window.run("return items.map((item) => item.tokens)")] == vocabulary.encode(
        "abxc"
    ).tolist()


def test_the_state_is_reset_between_documents_as_in_training(opened):
    text = "ab--ba-b--a---b"
    window, params, config, vocabulary = opened(text, cell="lstm", reset_on="--", opening="a")
    window.set_text(text)
    tokens = vocabulary.encode(text)
    starts = document_starts(tokens, vocabulary.encode("--"))
    assert starts.sum() == 4
    (values,) = activations(params, jnp.asarray(tokens, jnp.int32), config, jnp.asarray(starts))
    np.testing.assert_allclose(
        window.run("return items.map((item) => [...network.hidden(item.carry)])"), values["h"], atol=1e-5
    )


def test_editing_in_the_middle_gives_the_state_of_typing_everything_again(opened):
    window, *_ = opened(cell="gru")
    window.set_text("To be")
    window.set_text("To not be")
    edited = window.run("return items.map((item) => [...item.carry])")
    assert (
        window.run("return [...mirror.querySelectorAll('i')].map((span) => span.textContent).join('')") == "To not be"
    )
    window.set_text("")
    window.set_text("To not be")
    assert window.run("return items.map((item) => [...item.carry])") == edited


def test_the_table_says_what_the_colors_show(opened):
    window, *_ = opened(cell="tanh")
    window.find("table").find_element("tag name", "summary").click()
    window.wait("document.querySelectorAll('#table-body tr').length === 5")
    row = window.run(
        "return [...document.querySelectorAll('#table-body tr:nth-child(3) td')].map((cell) => cell.textContent)"
    )
    assert row[:2] == ["3", "space"]
    value = window.run("return valueOf(items[2])")
    assert float(row[2].replace("\u2212", "-")) == pytest.approx(value, abs=0.006)


def test_it_shows_the_loss_curve_and_the_run(opened):
    window, *_ = opened(cell="tanh")
    label = window.run("return document.querySelector('#loss svg').getAttribute('aria-label')")
    assert label == "Loss: from 6.00 to 4.00 bits per character over 200 steps, 2.50 on text held out"
    facts = window.run("return document.querySelector('dl').innerText")
    assert re.search("Cell\\s+tanh, 1 \N{MULTIPLICATION SIGN} 12", facts)


@pytest.mark.parametrize("width", [320, 1280])
def test_nothing_is_wider_than_the_screen_and_colors_align_with_letters(opened, width):
    window, *_ = opened(cell="tanh", opening=(TEXT + " ") * 6)
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    window.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        assert window.run("return document.documentElement.scrollWidth") <= width
        # The mirror and the field wrap alike: both have the height that the field needs for its text.
        assert window.run(
            "return [field.scrollHeight <= mirror.offsetHeight, mirror.offsetWidth === field.offsetWidth]"
        ) == [True, True]
        window.run(
            "field.style.height = '0'; field.style.alignSelf = 'start';"
            "document.querySelector('.stack').style.minHeight = 0"
        )
        assert abs(window.run("return field.scrollHeight - mirror.offsetHeight")) <= 1
    finally:
        window.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


CONTRAST = """
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const channels = (color) => {
  canvas.fillStyle = color;
  canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((channel) => channel / 255);
};
const luminance = (color) => {
  const [r, g, b] = channels(color).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const style = getComputedStyle(document.documentElement);
return arguments[0].map((names) => {
  const [low, high] = names.map((name) => luminance(style.getPropertyValue(`--${name}`).trim())).sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
});
"""
TEXT_ON = [
    *(("ink", under) for under in ("ground", "paper", "positive", "negative", "surprise")),
    *((text, under) for text in ("soft", "accent") for under in ("ground", "paper")),
    ("on-accent", "accent"),
]


def test_light_and_dark_follow_the_system_can_be_switched_and_are_legible(opened):
    window, *_ = opened(cell="tanh")

    def prefer(theme):
        features = [{"name": "prefers-color-scheme", "value": theme}]
        window.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    try:
        for theme, other in (("light", "dark"), ("dark", "light")):
            prefer(theme)
            window.wait(f"document.documentElement.dataset.theme === '{theme}'")
            assert min(window.run(CONTRAST, TEXT_ON)) >= 4.5
            assert min(window.run(CONTRAST, [("control", "paper"), ("control", "ground"), ("second", "ground")])) >= 3
            window.find("theme").click()
            assert window.run("return document.documentElement.dataset.theme") == other
    finally:
        window.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_every_control_has_a_name_and_every_heading_a_landmark(opened):
    window, *_ = opened(cell="gru", num_layers=2)
    tree = window.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = {(node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if not node["ignored"]}
    for role in ("textbox", "button", "slider", "radio", "listbox", "combobox", "spinbutton", "region"):
        names = {name for kind, name in named if kind == role}
        assert names, role
        assert "" not in names, role
    assert {"main", "banner", "contentinfo", "status"} <= {role for role, _ in named}


HOSTILE = '</script><script>alert(1)</script><!-- "&quot;\u2028 {{data}} 野'


def test_a_hostile_name_text_and_vocabulary_can_not_break_the_page(opened):
    window, _, _, vocabulary = opened(HOSTILE, opening=HOSTILE, cell="tanh", source="/x/</title><b>{{data}}'\".txt")
    assert window.run("return document.querySelectorAll('script').length") == 2
    assert window.find("text").get_attribute("value") == HOSTILE
    assert window.run("return vocabulary.symbols.join('')") == vocabulary.symbols
    assert window.run("return document.querySelector('h1').textContent") == "title><b>{{data}}'\""


def test_no_request_leaves_the_page_and_no_other_script_could_run_in_it(opened):
    window, *_ = opened(cell="tanh")
    window.find("write").click()
    window.wait("items.length > 6")
    window.find("write").click()
    messages = [json.loads(entry["message"])["message"] for entry in window.driver.get_log("performance")]
    urls = {m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"}
    assert {url for url in urls if not url.startswith(("file:", "data:"))} == set()
    assert len(urls) == 1 + any(url.startswith("data:") for url in urls)
    # What the Content-Security-Policy is for: a script that somehow got in would not run.
    window.run("const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s)")
    assert window.run("return window.ran === undefined")
    assert any("Content Security Policy" in entry["message"] for entry in window.driver.get_log("browser"))


def test_the_default_models_file_is_small_and_reveals_no_path(tmp_path):
    text = "".join(map(chr, range(32, 135)))
    save_run(tmp_path / "run", text, source=str(tmp_path / "verse.txt"), hidden_size=100)
    content = page(load_checkpoint(tmp_path / "run"), text="a")
    assert len(content.encode()) < 250_000
    assert "<title>verse" in content
    assert str(tmp_path) not in content
    assert not re.findall(r"(?:src|href)=(?!['\"]?(?:data:|#))", content)


@pytest.mark.slow
def test_without_a_text_the_network_writes_the_same_one_every_time(tmp_path):
    save_run(tmp_path / "run", TEXT, cell="gru")
    checkpoint = load_checkpoint(tmp_path / "run")
    data = [json.loads(re.search(r'id="data">(.*?)</script>', page(checkpoint))[1]) for _ in range(2)]
    assert data[0]["text"] == data[1]["text"]
    assert len(data[0]["text"]) > 200


def test_a_checkpoint_file_makes_a_page_without_a_curve(tmp_path, capsys):
    save_run(tmp_path / "run", TEXT)
    file = checkpoint_path(tmp_path / "run" / "checkpoints", 0)
    assert main(["page", str(file), "--out", str(tmp_path / "model.html"), "--text", "To"]) == 0
    assert '"steps":[]' in (tmp_path / "model.html").read_text()


def test_a_page_refuses_weights_that_its_numbers_cannot_hold(tmp_path):
    save_run(tmp_path / "run", TEXT)
    checkpoint = load_checkpoint(tmp_path / "run")
    large = checkpoint.state._replace(params=jax.tree.map(lambda leaf: leaf + 1e6, checkpoint.state.params))
    page(checkpoint._replace(state=large), text="To")
    with pytest.raises(JaxrnnError, match="too large for float16, in which a page computes them"):
        page(checkpoint._replace(state=large), text="To", half=True)


def test_a_page_refuses_bytes_that_it_cannot_show(tmp_path):
    save_run(tmp_path / "run", TEXT.encode())
    checkpoint = load_checkpoint(tmp_path / "run")
    vocabulary = dataclasses.replace(checkpoint.vocabulary, encoding="cp1251")
    with pytest.raises(JaxrnnError, match="a page reads bytes as UTF-8, and those of this network are CP1251"):
        page(checkpoint._replace(vocabulary=vocabulary))


@pytest.mark.slow
def test_a_page_refuses_a_user_defined_cell(tmp_path):
    mine = Cell(1, lambda *shape: (jnp.zeros(shape[:2], shape[2]),), lambda x, r, carry: (jnp.sin(x + r),))
    save_run(tmp_path / "run", TEXT, cell=mine)
    with pytest.raises(JaxrnnError, match="the cells tanh, relu, gru, lstm, and this network's cell is user-defined"):
        page(load_checkpoint(tmp_path / "run", cell=mine), text="To")
    save_run(tmp_path / "same", TEXT, cell=LSTM)
    assert '"cell":"lstm"' in page(load_checkpoint(tmp_path / "same", cell=LSTM), text="To")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("page nowhere --out page.html", "nowhere"),
    ],
)
def test_errors_of_the_command_are_reported(command, message, tmp_path, monkeypatch, capsys):
    save_run(tmp_path / "run", TEXT)
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(command)) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("line", [b"[1]\n", b"\xff\n", b"step 1\n"], ids=["a list", "no UTF-8", "no JSON"])
def test_damaged_metrics_are_reported(tmp_path, capsys, line):
    save_run(tmp_path / "run", TEXT)
    (tmp_path / "run" / "metrics.jsonl").write_bytes(line)
    assert main(["page", str(tmp_path / "run"), "--out", str(tmp_path / "model.html")]) == 2
    assert re.search(r"metrics.jsonl is damaged \(.*\); correct it, or move it elsewhere$", capsys.readouterr().err)
