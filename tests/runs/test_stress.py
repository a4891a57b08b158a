import pytest
import stress


@pytest.mark.slow
def test_a_run_outlives_every_fault_that_is_tried_on_it(capsys):
    assert stress.run_all(), capsys.readouterr().out
