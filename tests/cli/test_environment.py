"""Variables of JAX and matplotlib change nothing that commands compute, or are named in an error."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from command_line import process

from jaxrnn.runs import load_checkpoint

pytestmark = pytest.mark.slow

SCRIPT = "import sys, jaxrnn.cli; sys.exit(max([jaxrnn.cli.main(line.split()) for line in sys.argv[1:]]))"
TRAIN = "train --config tiny.json --quiet --overwrite --dropout 0.5 --num-layers 2 --run-dir"
GOOD = {
    "JAX_DEFAULT_PRNG_IMPL": "rbg",
    "JAX_THREEFRY_PARTITIONABLE": "0",
    "JAX_ENABLE_X64": "1",
    "JAX_DISABLE_JIT": "1",
    "JAX_DEBUG_NANS": "1",
    "JAX_DEBUG_INFS": "1",
    "JAX_TRANSFER_GUARD": "disallow",
    "JAX_TRANSFER_GUARD_HOST_TO_DEVICE": "disallow_explicit",
    "JAX_RANDOM_SEED_OFFSET": "5",
    "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16",
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    "JAX_NUMPY_RANK_PROMOTION": "raise",
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    "JAX_NO_EXECUTION": "1",
    "JAX_SERIALIZATION_VERSION": "9",
    "JAX2TF_DEFAULT_NATIVE_SERIALIZATION": "1",
    "JAX_ACCURATE_ERF_INV": "1",
    "EAGER_CONSTANT_FOLDING": "1",
    "MPLBACKEND": "qtagg",
}


def run_all(directory, **environment):
    commands = f"{TRAIN} {directory}", f"sample {directory} --length 40", f"evaluate {directory}"
    plot = f"plot {directory} --out {directory}.svg"
    options = {"check": False, "capture_output": True, "text": True, "env": os.environ | environment}
    return subprocess.run([sys.executable, "-c", SCRIPT, *commands, plot], **options)


def test_variables_change_no_result_whatever_they_are_set_to(home):
    expected = run_all("plain")
    assert expected.returncode == 0, expected.stderr
    for name, values in {"good": GOOD, "garbage": dict.fromkeys(GOOD, "garbage")}.items():
        done = run_all(name, **values)
        assert done.returncode == 0, done.stderr
        hide_time = re.compile(r"\d+\.\d s: ")
        assert hide_time.sub("", done.stdout).replace(name, "plain") == hide_time.sub("", expected.stdout)
        ours, theirs = (load_checkpoint(run).state.params for run in (name, "plain"))
        for layer, other in zip(ours.layers, theirs.layers, strict=True):
            np.testing.assert_array_equal(layer.Whh, other.Whh)
        assert load_checkpoint(name).computed_by == load_checkpoint("plain").computed_by


@pytest.mark.parametrize("command", [f"{TRAIN} new", "sample run", "evaluate run", "info", "page run"])
@pytest.mark.parametrize(
    "name",
    [
        *("JAX_PLATFORMS", "JAX_NUM_CPU_DEVICES", "JAX_LOGGING_LEVEL", "JAX_LOG_COMPILES", "JAX_DEFAULT_DEVICE"),
        *("JAX_COMPILER_DETAILED_LOGGING_MIN_OPS", "CHECK_VMA"),  # JAX's too
    ],
)
def test_garbage_that_stops_jax_is_an_error_that_names_the_variable(home, name, command):
    running = process(command, env=os.environ | {name: "garbage"})
    out, err = running.communicate()
    assert (running.returncode, out) == (2, "")
    assert re.search(rf"^jaxrnn: .*{name} is 'garbage'.*\n$", err, re.MULTILINE)
    assert "bug" not in err


def test_garbage_that_stops_tqdm_is_an_error_that_names_the_variable(home):
    running = process(f"{TRAIN} new", env=os.environ | {"TQDM_MININTERVAL": "often"})
    _, err = running.communicate()
    assert running.returncode == 2
    assert err == (
        "jaxrnn: TQDM_MININTERVAL is 'often' (could not convert string to float: 'often'); correct or unset it\n"
    )


def test_a_platform_that_is_not_there_is_named(home):
    running = process("sample run", env=os.environ | {"JAX_PLATFORMS": "cuda"})
    _, err = running.communicate()
    assert running.returncode == 2
    assert re.fullmatch(r"jaxrnn: there is no device .*JAX_PLATFORMS is 'cuda'.*\n", err)
    running = process("sample run", env=os.environ | {"JAX_NUM_CPU_DEVICES": "0"})
    _, err = running.communicate()
    assert (running.returncode, "there is no device" in err, "JAX_NUM_CPU_DEVICES is '0'" in err) == (2, True, True)
    running = process("sample run --device cpu", env=os.environ | {"JAX_PLATFORMS": "cuda"})
    running.communicate()
    assert running.returncode == 0


def test_jax_logs_until_python_has_ended(home):
    running = process("sample run", env=os.environ | {"JAX_LOGGING_LEVEL": "DEBUG"})
    _, err = running.communicate()
    assert (running.returncode, "Finished XLA compilation" in err, "Logging error" in err) == (0, True, False)
    assert "Clearing JAX backend caches" in err.splitlines()[-1]


def test_a_loss_that_is_not_finite_is_told_under_debug_nans_too(home):
    command = "train --config tiny.json --learning-rate 1e38 --optimizer sgd --clip none --run-dir new"
    running = process(command, env=os.environ | {"JAX_DEBUG_NANS": "1"})
    running.communicate()
    assert running.returncode == 4


@pytest.mark.parametrize("name", ["JAX_THREEFRY_PARTITIONABLE", "JAX_ENABLE_X64"])
def test_in_python_a_setting_that_changes_random_numbers_is_told_on_resume(home, name):
    script = "import jaxrnn; list(jaxrnn.fit(jaxrnn.TrainConfig(steps={}), 'ab' * 99, run_dir='new', resume={}))"
    options = {"check": True, "capture_output": True, "text": True}
    subprocess.run([sys.executable, "-c", script.format(5, False)], **options)
    environment = os.environ | {name: "0" if "THREEFRY" in name else "1"}
    done = subprocess.run([sys.executable, "-c", script.format(9, True)], env=environment, **options)
    assert re.search(rf"continues on .*{name} (True|False).* can't be promised", done.stderr.replace("\n", " "))
