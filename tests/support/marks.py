"""Which marks tests get for the fixtures that they use."""

from __future__ import annotations

from collections.abc import Mapping

IMPLIED_MARKS: Mapping[str, str] = {"redis_server": "redis", "server": "redis", "cluster": "redis", "offline": "model"}
"""Fixture → the mark of every test that uses it, itself or through another."""
