"""Fixtures of the profiling tests."""

import pytest


@pytest.fixture(autouse=True, scope="session")
def own_lock(tmp_path_factory):
    """A lock of the tests' own: somebody may be measuring on this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
        yield
