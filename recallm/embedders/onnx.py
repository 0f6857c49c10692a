"""onnxruntime and tokenizers: a model's graph, and the tokenizer beside it, kept from reporting their use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recallm.errors import ModelUnavailableError

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def forbid_telemetry() -> None:
    """Keep onnxruntime from reporting its use to its makers, unless the user has decided about it.

    From version 1.29 on it writes an id into the home directory, and looks up a host, once it is imported. After that
    nothing stops it.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def only_onnx(folder: Path) -> Path:
    """Return the ONNX file of a folder: model.onnx, onnx/model.onnx or the only one.

    Raises:
        ModelUnavailableError: there is none, or there are several.
    """
    for place in (folder, folder / "onnx"):
        if (place / "model.onnx").is_file():
            return place / "model.onnx"
    found = sorted([*folder.glob("*.onnx"), *folder.glob("onnx/*.onnx")])
    if len(found) == 1:
        return found[0]
    raise ModelUnavailableError(
        f"the folder {str(folder)!r} holds {[path.name for path in found]} as ONNX models; "
        f"it must hold model.onnx, onnx/model.onnx, or a single .onnx file"
    )


def session(weights: Path, *, optimise: bool = True) -> Any:
    """Return an ``onnxruntime.InferenceSession`` that computes in the thread that calls it, on the CPU.

    Args:
        weights: an ONNX file.
        optimise: False to look at the graph only, which is loaded sooner so.

    Raises:
        Exception: whatever onnxruntime raises about a file that it cannot run.
    """
    forbid_telemetry()
    import onnxruntime  # type: ignore[import-untyped]  # it ships no types

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])


def tokenizer(file: Path) -> Tokenizer:
    """Return the tokenizer of a tokenizer.json, which neither cuts nor pads.

    Raises:
        Exception: whatever tokenizers raises about a file that it cannot read.
    """
    from tokenizers import Tokenizer

    loaded = Tokenizer.from_file(str(file))
    loaded.no_truncation()
    loaded.no_padding()
    return loaded
