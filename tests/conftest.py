"""What holds for every tier. With `--update-golden`, golden files are written anew; read the diff before a commit."""

import signal

import pytest
from hypothesis import HealthCheck, settings

# Hypothesis looks for wrong answers here, not for slow ones: a busy machine is no failure.
settings.register_profile("no-deadline", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no-deadline")

# A shell starts what runs in its background with Ctrl-C ignored, and so would be whatever a test starts: those that
# press Ctrl-C would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write golden files anew")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written."""
    return bool(request.config.getoption("--update-golden"))
