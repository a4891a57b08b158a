import pytest
import stress


@pytest.mark.parametrize("fault", [fault.__name__ for fault in stress.FAULTS])
def test_a_run_outlives(fault):
    assert stress.run_all(only=fault)
