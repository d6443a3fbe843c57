"""Settings of the whole suite: one torch thread a worker, hypothesis without deadlines, no network."""

import os

import pytest
import torch
from hypothesis import settings

settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")
# Two workers with two threads each would fight for the two cores that the suite is planned for.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")
