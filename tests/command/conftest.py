"""What tests of the command share."""

import pytest


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    """A folder of its own for each test: the command writes where it is."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
