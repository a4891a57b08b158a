import dataclasses
import itertools
import json
import math

import numpy as np
import pytest

from jaxrnn.config import ModelConfig, OptimizerConfig, SampleConfig, TrainConfig, from_json, to_json
from jaxrnn.errors import JaxrnnError
from jaxrnn.network import LSTM, TANH, Cell

ALL = [ModelConfig, OptimizerConfig, TrainConfig, SampleConfig]
NAN, INF = math.nan, math.inf

ROUND_TRIPS = [
    *(kind() for kind in ALL),
    ModelConfig(cell="custom", dropout=0.5, init="uniform"),
    ModelConfig(hidden_size=1, num_layers=7, init_scale=1e-300, dtype="float64", vocab_size=2),
    *(OptimizerConfig(learning_rate=value, clip_value=1 / value) for value in (0.1, 1 / 3, 5e-324 * 2**60, 1e300)),
    OptimizerConfig(learning_rate=5e-324, clip_value=1.7976931348623157e308),
    TrainConfig(model=ModelConfig(vocab_size=65), optimizer=OptimizerConfig(learning_rate=0.2), seed=2**32 - 1),
    TrainConfig(corpus="/text/日本語 \udcff\n.txt", vocabulary="bytes", normalize=("newlines",), steps=2**31 - 1),
    TrainConfig(sample_every=0, checkpoint_every=0, prompt='"\\\x00\x7f\u2028'),
    *(
        SampleConfig(prompt=prompt)
        for prompt in ("naïve", "Привет", "👩‍🚀", "\udc80\udcff", "\ud800", "\\ud800", "\r\n")
    ),
    TrainConfig(split=(1 / 3, 1 / 3, 1 / 3), validate_every=7, patience=3, min_count=2, reset_on="\n\n\ud800"),
    TrainConfig(split=[0.7, 0.3]),
    SampleConfig(length=10**18, temperature=0.7, greedy=True, seed=12),
    SampleConfig(top_k=1, top_p=1, stop="\n\n", num_samples=2**16, seed=2**32 - 2**16),
    OptimizerConfig(name="sgd", momentum=0, weight_decay=0, clip="norm", schedule="cosine", final_fraction=1),
]


@pytest.mark.parametrize("config", ROUND_TRIPS, ids=lambda config: type(config).__name__)
def test_json_gives_back_an_equal_config(config):
    text = to_json(config)
    plain = dataclasses.asdict(config)
    if "split" in plain:
        plain |= {"split": list(config.split), "normalize": list(config.normalize)}  # JSON has no tuples
    assert json.loads(text) == plain  # plain JSON, not only this program's
    assert text.isascii()  # so any terminal and any file can hold it
    assert from_json(type(config), text) == config
    assert to_json(from_json(type(config), text)) == text


@pytest.mark.parametrize("kind", ALL)
def test_absent_fields_keep_their_defaults(kind):
    assert from_json(kind, "{}") == kind()


def test_absent_fields_of_a_nested_config_keep_their_defaults():
    assert from_json(TrainConfig, '{"model": {"hidden_size": 7}}') == TrainConfig(model=ModelConfig(hidden_size=7))


def test_the_config_of_version_0_1_0_is_read():
    old = {**json.loads(to_json(TrainConfig(steps=7))), "on_nonfinite": "stop"}
    assert from_json(TrainConfig, json.dumps(old)) == TrainConfig(steps=7)
    with pytest.raises(JaxrnnError, match="no field 'on_nonfinite'"):
        from_json(TrainConfig, '{"on_nonfinite": "skip"}')


def test_a_whole_number_in_json_is_a_float_where_the_field_is_one():
    clip_value = from_json(OptimizerConfig, '{"clip_value": 5}').clip_value
    assert (clip_value, type(clip_value)) == (5.0, float)


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (ModelConfig, '{"hiden_size": 3}', "ModelConfig has no field 'hiden_size'; did you mean hidden_size?"),
        (TrainConfig, '{"step": 3}', "TrainConfig has no field 'step'; did you mean steps?"),
        (TrainConfig, '{"model": {"layers": 3}}', "ModelConfig has no field 'layers'; did you mean num_layers?"),
        (TrainConfig, '{"optimizer": {"learning-rate": 1}}', "did you mean learning_rate?"),
        (TrainConfig, '{"cell": "gru"}', "cell belongs to ModelConfig: TrainConfig(model=ModelConfig(cell='gru'))"),
        (SampleConfig, '{"qqq": null}', "SampleConfig has no field 'qqq'; its fields are prompt, length,"),
    ],
)
def test_an_unknown_field_is_refused_with_a_suggestion(kind, text, message):
    with pytest.raises(JaxrnnError) as caught:
        from_json(kind, text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (
            TrainConfig,
            {"learning_rate": 0.01},
            "learning_rate belongs to OptimizerConfig: TrainConfig(optimizer=OptimizerConfig(learning_rate=0.01))",
        ),
        (
            TrainConfig,
            {"hidden_size": 200, "steps": 3, "cell": "gru", "learning_rate": 0.01},
            "hidden_size and cell belong to ModelConfig: TrainConfig(model=ModelConfig(hidden_size=200, cell='gru'))",
        ),
        (ModelConfig, {"steps": 3}, "steps belongs to TrainConfig: TrainConfig(steps=3)"),
        (SampleConfig, {"hidden_size": 3}, "hidden_size belongs to ModelConfig: ModelConfig(hidden_size=3)"),
        (TrainConfig, {"stps": 3}, "TrainConfig has no field 'stps'; did you mean steps?"),
        (
            TrainConfig,
            {"learning_rat": 1},
            "did you mean learning_rate of OptimizerConfig?",
        ),
        (OptimizerConfig, {"beta_1": 0.8}, "OptimizerConfig has no field 'beta_1'; did you mean beta1?"),
        (ModelConfig, {"self": 0, "cls": 1}, "ModelConfig has no field 'self'"),
    ],
)
def test_a_field_that_a_class_lacks_is_refused_with_the_class_that_has_it(kind, values, message):
    for make in (kind, lambda **values: dataclasses.replace(kind(), **values)):
        with pytest.raises(JaxrnnError) as caught:
            make(**values)
        assert message in str(caught.value)


@pytest.mark.parametrize("kind", ALL)
def test_every_field_of_another_class_is_refused_with_that_class(kind):
    for other in ALL:
        for field in {field.name for field in dataclasses.fields(other)} - kind.__dataclass_fields__.keys():
            with pytest.raises(JaxrnnError, match=f"^{field} belongs to .*Config: .*{field}="):
                kind(**{field: getattr(other(), field)})


def test_a_part_of_another_class_is_refused_in_plain_words():
    with pytest.raises(JaxrnnError, match=r"^optimizer must be an OptimizerConfig, got ModelConfig"):
        TrainConfig(optimizer=ModelConfig())
    with pytest.raises(
        JaxrnnError, match=r"^cell must be 'tanh' or 'relu' or 'gru' or 'lstm' or a jaxrnn.Cell, got 'r"
    ):
        ModelConfig(cell="rnn")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ('{"steps": 1, "model": {"hidden_size": 1, "hidden_size": 2}}', "'hidden_size' is given twice; give it once"),
        ("{", "not JSON"),
        ("{'steps': 1}", "not JSON"),
        ('{"steps": 1}}', "not JSON"),
        ("steps: 1", "not JSON"),
        ("[" * 100_000, "not JSON"),
        pytest.param('{"steps": 1' + "0" * 5000 + "}", "", id="5001 digits"),
        ("[]", "expected an object"),
        ("null", "expected an object"),
        ("3", "expected an object"),
        ('"steps"', "expected an object"),
        ('{"model": null}', "expected an object with the fields of ModelConfig, got NoneType"),
        ('{"optimizer": [1]}', "expected an object with the fields of OptimizerConfig, got list"),
        ('{"steps": NaN}', "steps must be a whole number, got nan"),
        ('{"optimizer": {"learning_rate": Infinity}}', "learning_rate must be a finite number above 0, got inf"),
        ('{"steps": null}', "steps must be a whole number, got None"),
        ('{"steps": "1"}', "steps must be a whole number, got '1'"),
        ('{"normalize": 1}', "normalize must be a list of 'newlines' or 'nfc' or 'quotes', got 1"),
    ],
    ids=lambda value: value[:20],
)
def test_what_is_not_a_config_in_json_is_refused(text, message):
    with pytest.raises(JaxrnnError) as caught:
        from_json(TrainConfig, text)
    assert message in str(caught.value)


NO_INTEGER = [True, np.True_, 1.0, 1.5, NAN, INF, "1", b"1", None, [1], np.ones(1, int), np.float64(2)]
NO_FLOAT = [True, np.True_, "0.1", None, [0.1], 1j, 0, 0.0, -0.0, -1, -0.1, NAN, INF, -INF, np.float32(INF), 10**400]
FLOAT_OR_NONE = [value for value in NO_FLOAT if value is not None]
NO_NUMBER = [True, np.True_, "0.1", [0.1], 1j]
NO_FRACTION = [*NO_NUMBER, None, -0.1, 1, 1.5, NAN, INF]  # from 0 to below 1
NO_BOOLEAN = [0, 1, 1.0, "True", None]
NO_STRING = [None, 0, b"text", ["text"]]
NO_CELLS = [
    *((TANH, {"gates": gates}) for gates in (0, 1.0, None)),
    *((LSTM, wrong) for wrong in ({"update": None}, {"gates": 2}, {"init_carry": [0]})),
]
COUNTS = [*NO_INTEGER, 0, -1, np.int64(0)]  # at least 1
FROM_ZERO = [*NO_INTEGER, -1, np.int8(-1)]
OUT_OF_RANGE = {
    ModelConfig: {
        "cell": [*NO_STRING, "", "Tanh", "transformer", Cell, *(cell._replace(**wrong) for cell, wrong in NO_CELLS)],
        "hidden_size": COUNTS,
        "num_layers": COUNTS,
        "dropout": [*(value for value in NO_FLOAT if value != 0 or value is False), 1, 1.5],
        **dict.fromkeys(("input_dropout", "state_dropout"), NO_FRACTION),
        "output_dropout": [value for value in NO_FRACTION if value is not None],
        "weight_dropout": NO_FRACTION,
        "init": [*NO_STRING, "", "orthogonal"],
        "init_scale": NO_FLOAT,
        "dtype": [*NO_STRING, "", "float16", "int32", np.float32],
        "products": [*NO_STRING, "", "float32", "float16"],
        "vocab_size": [value for value in COUNTS if value is not None] + [1],
    },
    OptimizerConfig: {
        "name": [*NO_STRING, "", "Adam"],
        "learning_rate": FLOAT_OR_NONE,
        "momentum": NO_FRACTION,
        "rms_decay": NO_FRACTION,
        "beta1": NO_FRACTION,
        "beta2": NO_FRACTION,
        "weight_decay": [*NO_NUMBER, -0.1, NAN, INF],
        "clip": [*NO_STRING, "", "Norm"],
        "clip_value": NO_FLOAT,
        "schedule": [*NO_STRING, "", "linear"],
        "warmup_steps": [*FROM_ZERO, 2**31],
        "final_fraction": [*NO_NUMBER, None, -0.1, 1.1, NAN, INF],
        "decay_from": [*FROM_ZERO, 2**31],
        "decay_every": [*COUNTS, 2**31],
        "decay_rate": [*NO_NUMBER, None, 0.0, -0.1, 1.1, NAN, INF],
    },
    TrainConfig: {
        "corpus": NO_STRING,
        "vocabulary": [*NO_STRING, "", "words"],
        "encoding": [*NO_STRING, "", "hex", "utf8x", "a\0"],
        "normalize": [*NO_STRING[:-1], ["text"], "nfc", True, ("nfd",)],
        "join": NO_STRING,
        "min_count": COUNTS,
        "symbols": NO_STRING,
        "split": [
            *(None, 0.9, "0.9,0.1", (), (0.5,), (0.9, 0.2), (0.9, 0.1 + 1e-8), (0.5, 0.25, 0.125, 0.125), (1.0, 0.0)),
            *((1.5, -0.5), (NAN,), (INF, 0.1), ("0.9", "0.1"), (True,), (10**400, 1)),
        ],
        "reset_on": NO_STRING,
        "model": [None, {}, "tanh", OptimizerConfig()],
        "optimizer": [None, {}, "adagrad", ModelConfig()],
        "sequence_length": COUNTS,
        "batch_size": COUNTS,
        "steps": [*COUNTS, 2**31],
        "seed": [*FROM_ZERO, 2**32],
        "prompt": NO_STRING,
        "sample_every": [value for value in FROM_ZERO if value is not None],
        "sample_length": COUNTS,
        "log_every": COUNTS,
        "checkpoint_every": FROM_ZERO,
        "keep": COUNTS,
        "validate_every": FROM_ZERO,
        "average_decay": NO_FRACTION,
        "patience": FROM_ZERO,
        "parent": NO_STRING,
        "chunk_length": COUNTS,
    },
    SampleConfig: {
        "prompt": NO_STRING,
        "length": COUNTS,
        "temperature": [value for value in NO_FLOAT if value != 0 or value is False],
        "top_k": [value for value in COUNTS if value is not None],
        "top_p": [*NO_NUMBER, 0, 0.0, -0.1, 1.1, NAN, INF],
        "greedy": NO_BOOLEAN,
        "stop": NO_STRING,
        "seed": [*FROM_ZERO, 2**32],
        "num_samples": [*COUNTS, 2**16 + 1],
        "unknown": [*NO_STRING, "", "ignore"],
    },
}
FIELDS = [(kind, name) for kind in ALL for name in OUT_OF_RANGE[kind]]


@pytest.mark.parametrize("kind", ALL)
def test_every_field_is_in_the_table_below(kind):
    assert list(OUT_OF_RANGE[kind]) == [field.name for field in dataclasses.fields(kind)]


@pytest.mark.parametrize(("kind", "name"), FIELDS)
def test_a_value_out_of_range_is_refused_and_the_field_named(kind, name):
    for value in OUT_OF_RANGE[kind][name]:
        with pytest.raises(JaxrnnError, match=f"^{name} must be ") as caught:
            kind(**{name: value})
        assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("kind", "name", "value", "expected"),
    [
        (ModelConfig, "hidden_size", np.int64(64), 64),
        (ModelConfig, "vocab_size", np.uint8(255), 255),
        (ModelConfig, "init_scale", np.float32(0.1), 0.10000000149011612),
        (OptimizerConfig, "learning_rate", np.float64(0.1), 0.1),
        (OptimizerConfig, "clip_value", np.int32(5), 5.0),
        (OptimizerConfig, "clip_value", np.float16(0.5), 0.5),
        (TrainConfig, "seed", np.uint32(2**32 - 1), 2**32 - 1),
        (TrainConfig, "steps", np.array([3])[0], 3),
        (SampleConfig, "temperature", 1, 1.0),
    ],
)
def test_numpy_numbers_become_pythons(kind, name, value, expected):
    config = kind(**{name: value})
    assert getattr(config, name) == expected
    assert type(getattr(config, name)) is type(expected)
    assert from_json(kind, to_json(config)) == config == kind(**{name: expected})


@pytest.mark.parametrize("kind", ALL)
def test_a_config_is_frozen_and_hashable(kind):
    for field in dataclasses.fields(kind):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(kind(), field.name, getattr(kind(), field.name))
    assert len({kind(), kind(), from_json(kind, "{}")}) == 1  # so it can be a static argument of jit


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"validate_every": 5}, "validate_every needs a validation slice"),
        ({"patience": 5}, "patience counts validations"),
        ({"patience": 5, "split": (0.9, 0.1)}, "patience counts validations"),
    ],
)
def test_a_field_that_needs_another_says_so(values, message):
    with pytest.raises(JaxrnnError, match=message):
        TrainConfig(**values)


def test_a_user_defined_cell_is_written_as_custom_and_can_be_restored():
    config = TrainConfig(model=ModelConfig(cell=TANH._replace(init_bias=(1.0,)), hidden_size=3))
    read = from_json(TrainConfig, to_json(config))
    assert read.model.cell == json.loads(to_json(config))["model"]["cell"] == "custom"
    put_back = dataclasses.replace(read, model=dataclasses.replace(read.model, cell=config.model.cell))
    assert put_back == config
    assert hash(put_back) == hash(config)


def test_a_cell_that_is_not_hashable_is_refused():
    with pytest.raises(JaxrnnError, match="cell must be hashable"):
        ModelConfig(cell=TANH._replace(init_bias=[1.0]))


def test_a_user_defined_optimizer_is_custom_and_nothing_else():
    config = OptimizerConfig(name="custom")
    assert from_json(OptimizerConfig, to_json(config)) == config
    assert (config.decay, config.decays) == (0.0, False)
    with pytest.raises(JaxrnnError, match="a learning rate of its own"):
        _ = config.peak_learning_rate
    for name, value in {"learning_rate": 0.1, "clip": "none", "schedule": "cosine", "warmup_steps": 3}.items():
        with pytest.raises(JaxrnnError, match=f"{name} has no effect on a user-defined optimizer; leave it out"):
            OptimizerConfig(name="custom", **{name: value})


def test_replacing_a_field_checks_it():
    with pytest.raises(JaxrnnError, match="steps must be at least 1, got 0"):
        dataclasses.replace(TrainConfig(), steps=0)


def test_the_defaults_are_min_char_rnns():
    config = TrainConfig()
    model, optimizer = config.model, config.optimizer
    assert (model.cell, model.hidden_size, model.num_layers, model.init_scale) == ("tanh", 100, 1, 0.01)
    assert (optimizer.name, optimizer.peak_learning_rate, optimizer.schedule) == ("adagrad", 0.1, "constant")
    assert (optimizer.clip, optimizer.clip_value, optimizer.decay) == ("value", 5.0, 0.0)
    assert (config.sequence_length, config.batch_size, config.steps) == (25, 1, 40_000)
    assert (config.sample_every, config.sample_length, config.vocabulary) == (None, 200, "characters")
    assert (SampleConfig().temperature, SampleConfig().greedy) == (1.0, False)


@pytest.mark.parametrize("steps", [1, 99, 100, 101, 250, 1_000, 2_000, 13_000, 40_000, 2**31 - 1])
@pytest.mark.parametrize("log_every", [1, 7, 100])
def test_by_default_about_eight_samples_are_spread_over_a_run_most_of_them_early(steps, log_every):
    config = TrainConfig(steps=steps, log_every=log_every)
    lines = range(0, min(steps, 2000 * log_every), log_every)
    due = [step for step in lines if config.has_sample(step)]
    assert due[0] == 0
    assert not any(config.has_sample(step) for step in range(min(steps, 500)) if step % log_every)  # a logged step
    if steps <= 2000 * log_every:
        assert len(due) == min(7, len(lines))  # the eighth is at the end
        gaps = [after - before for before, after in itertools.pairwise(due)]
        assert gaps == sorted(gaps)


@pytest.mark.parametrize(("every", "due"), [(0, []), (3, [0, 3, 6, 9]), (100, [0])])
def test_samples_may_come_at_an_interval_instead(every, due):
    assert [step for step in range(10) if TrainConfig(sample_every=every).has_sample(step)] == due


def test_the_seeds_of_all_samples_are_seeds():
    with pytest.raises(JaxrnnError, match="seed, the first of 3, must be at most 4294967293, got 4294967294"):
        SampleConfig(seed=2**32 - 2, num_samples=3)


@pytest.mark.parametrize(
    ("name", "rate", "decay"),
    [
        ("adagrad", 0.1, 0.0),
        ("adam", 0.002, 0.0),
        ("adamw", 0.002, 0.01),
        ("rmsprop", 0.002, 0.0),
        ("sgd", 0.001, 0.0),
    ],
)
def test_each_update_rule_has_a_default_learning_rate_and_weight_decay(name, rate, decay):
    config = OptimizerConfig(name=name)
    assert (config.peak_learning_rate, config.decay) == (rate, decay)
    config = OptimizerConfig(name=name, learning_rate=0.5, weight_decay=0)
    assert (config.peak_learning_rate, config.decay) == (0.5, 0.0)
