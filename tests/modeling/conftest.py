"""Fixtures for tests of multi-exit models."""

from pathlib import Path

import pytest

REFERENCE = Path(__file__).resolve().parent.parent / "fixtures" / "reference"


@pytest.fixture(scope="session")
def reference_folder() -> Path:
    """Checkpoints and outputs recorded from the reference implementation."""
    return REFERENCE
