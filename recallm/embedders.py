"""Embedders: FastEmbed (the default), Sentence Transformers, and which of them is chosen."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recallm.errors import InvalidTypeError, InvalidValueError, MissingExtraError, ModelUnavailableError
from recallm.forking import ForkSafeLock
from recallm.lazy_model import LazyEmbedder, LoadedModel, measured_dim
from recallm.model_files import (
    OFFLINE_MODEL_ID,
    OFFLINE_PACKAGE,
    ModelFiles,
    folder_model,
    hub_model,
    is_installed,
    offline_model,
    require_offline_package,
)
from recallm.tokens import TokenReader

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


_HUB_SECONDS = 10.0


class FastEmbedEmbedder(LazyEmbedder):
    """A model run by FastEmbed: small, on the CPU, without PyTorch. The default.

    Construction reads nothing; the model is loaded by `load` or by the first text. Without the hub's
    files in the cache, loading fetches them in one attempt; use `offline` where there is no network.

    Args:
        model_name: a model that FastEmbed knows.
        model_path: a folder with a model of your own, in place of `model_name`: an ONNX file
            (model.onnx, onnx/model.onnx or the only one), tokenizer.json and tokenizer_config.json.
            Token vectors are pooled as 1_Pooling/config.json says, else by their mean (a model
            trained for another pooling, such as bge, needs that file), and normalised.
        cache_dir: where fetched models are kept; None: ``FASTEMBED_CACHE_PATH``, else FastEmbed's own.
        threads: threads of one inference, at least 1; None: one per core. 1 serves many callers best.
        local_files_only: never fetch; the model must be in the cache.

    Raises:
        InvalidTypeError: an argument has another type.
        InvalidValueError: `model_name` is blank, or `threads` is below 1.

    >>> FastEmbedEmbedder("BAAI/bge-small-en-v1.5")
    <FastEmbedEmbedder 'BAAI/bge-small-en-v1.5', not loaded>
    """

    def __init__(
        self,
        model_name: str = "BAAI/bge-small-en-v1.5",
        *,
        model_path: str | Path | None = None,
        cache_dir: str | Path | None = None,
        threads: int | None = None,
        local_files_only: bool = False,
    ) -> None:
        name = _checked_name(model_name)
        folder, cache = _checked_path(model_path, "model_path"), _checked_path(cache_dir, "cache_dir")
        _checked_flag(local_files_only, "local_files_only")
        super().__init__(name if folder is None else str(folder))
        self._threads = _checked_threads(threads)
        self._locate: Callable[[], ModelFiles] = (
            partial(hub_model, name, cache_dir=cache, local_files_only=local_files_only)
            if folder is None
            else partial(folder_model, folder)
        )

    @classmethod
    def offline(cls, *, threads: int | None = None) -> FastEmbedEmbedder:
        """Use the all-MiniLM-L6-v2 that the extra ``offline`` installs. Never touches the network.

        384 dimensions, 512 tokens, English; weights in int8, their SHA-256 checked at loading. The
        `model_id` is known without loading.

        Args:
            threads: as for the class.

        Raises:
            MissingExtraError: the extra is not installed.
        """
        require_offline_package()
        embedder = cls("all-MiniLM-L6-v2", threads=threads)
        embedder._known_id = OFFLINE_MODEL_ID
        embedder._locate = offline_model
        return embedder

    def _open(self) -> LoadedModel:
        import numpy as np
        from fastembed import TextEmbedding

        files = self._locate()
        folder = str(files.folder)
        # cache_dir is not looked into here, but FastEmbed would make one in the temporary folder.
        model = TextEmbedding(files.name, folder, self._threads, specific_model_path=folder)

        def embed_texts(texts: list[str]) -> NDArray[np.float32]:
            return np.asarray(list(model.embed(texts, batch_size=len(texts))), dtype=np.float32)

        tokenizer = model.model.tokenizer  # type: ignore[attr-defined]  # on every text model, not on their base
        reader = TokenReader(tokenizer, max_tokens=int(tokenizer.truncation["max_length"]))
        return LoadedModel(files.model_id, measured_dim(embed_texts), reader, embed_texts)


class SentenceTransformerEmbedder(LazyEmbedder):
    """A model run by Sentence Transformers on PyTorch, for models without ONNX files, or on a GPU.

    Needs the extra ``torch``. Construction reads nothing; the model is loaded by `load` or by the first
    text, from the local cache where it is there, else from the hub. Code that a model brings is not run.

    Args:
        model_name: a model on the hub (without an owner: of sentence-transformers), or a folder.
        device: such as "cpu" or "cuda"; None: the library's choice.
        cache_dir: where fetched models are kept; None: the hub client's own.
        revision: a commit, tag or branch of the model; None: the newest.
        local_files_only: never fetch; the model must be in the cache or a folder.

    Raises:
        InvalidTypeError: an argument has another type.
        InvalidValueError: `model_name` is blank.
        MissingExtraError: the extra ``torch`` is not installed.
    """

    _remedy = "check the network and the cache, name a folder, or use FastEmbedEmbedder.offline()"

    def __init__(
        self,
        model_name: str = "sentence-transformers/all-MiniLM-L6-v2",
        *,
        device: str | None = None,
        cache_dir: str | Path | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> None:
        super().__init__(_checked_name(model_name))
        self._device = _checked_optional_str(device, "device")
        self._cache_dir = _checked_path(cache_dir, "cache_dir")
        self._revision = _checked_optional_str(revision, "revision")
        self._local_files_only = _checked_flag(local_files_only, "local_files_only")
        if not is_installed("sentence_transformers"):
            raise MissingExtraError('sentence_transformers is missing; run: pip install "recallm[torch]"')

    @cached_property
    def _folder(self) -> Path | None:
        folder = Path(self.model_name)
        return folder if folder.is_dir() else None

    @property
    def _repository(self) -> str:
        if self._folder is not None or "/" in self.model_name:
            return self.model_name
        return f"sentence-transformers/{self.model_name}"

    def _open(self) -> LoadedModel:
        import numpy as np

        model = self._from_cache_or_hub()
        inference = ForkSafeLock()

        def embed_texts(texts: list[str]) -> NDArray[np.float32]:
            # Its tokenizer switches truncation and padding per call, which raises when callers overlap.
            with inference:
                encoded = model.encode(texts, batch_size=len(texts), show_progress_bar=False)
            return np.asarray(encoded, dtype=np.float32)

        tokenizer = getattr(model.tokenizer, "backend_tokenizer", None)
        if tokenizer is None:
            raise ModelUnavailableError(
                f"{self.model_name!r} has no fast tokenizer, so what it reads of a prompt cannot be told; "
                f"use a model with a tokenizer.json"
            )
        max_tokens = int(model.max_seq_length or model.tokenizer.model_max_length)
        reader = TokenReader(tokenizer, max_tokens=max_tokens)
        return LoadedModel(self._identify(), measured_dim(embed_texts), reader, embed_texts)

    def _from_cache_or_hub(self) -> Any:
        from huggingface_hub import constants, model_info

        construct = partial(
            importlib.import_module("sentence_transformers").SentenceTransformer,
            self._repository,
            device=self._device,
            cache_folder=str(self._cache_dir or constants.HF_HUB_CACHE),
            revision=self._revision,
            trust_remote_code=False,
        )
        try:
            return construct(local_files_only=True)
        except OSError:
            if self._local_files_only or self._folder is not None:
                raise
        # Asked first because it fails at once: the library tries a dead hub for 70 s.
        model_info(self._repository, revision=self._revision, timeout=_HUB_SECONDS)
        return construct(local_files_only=False)

    def _identify(self) -> str:
        if self._folder is not None:
            return f"local@sha256:{_folder_digest(self._folder)[:16]}"
        from huggingface_hub import snapshot_download

        snapshot = snapshot_download(
            self._repository, revision=self._revision, cache_dir=self._cache_dir, local_files_only=True
        )
        return f"{self._repository}@{Path(snapshot).name}"


def installed_default(model_name: str, *, environ: Mapping[str, str]) -> FastEmbedEmbedder:
    """Choose the embedder of a cache that names none: by what is installed, not by what answers.

    Args:
        model_name: the FastEmbed model where the extra ``offline`` is not installed.
        environ: environment variables; ``RECALLM_EMBEDDER`` overrides: "offline" or a model name.

    Returns:
        An embedder that has loaded nothing yet.

    Raises:
        MissingExtraError: ``RECALLM_EMBEDDER=offline`` without the extra.
    """
    wanted = environ.get("RECALLM_EMBEDDER", "").strip()
    if wanted and wanted != "offline":
        return FastEmbedEmbedder(wanted)
    if wanted == "offline" or is_installed(OFFLINE_PACKAGE):
        return FastEmbedEmbedder.offline()
    return FastEmbedEmbedder(model_name)


def _folder_digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()}:{content}\n".encode())
    return digest.hexdigest()


def _checked_name(name: object) -> str:
    if not isinstance(name, str):
        raise InvalidTypeError(f"model_name={name!r} is a {type(name).__name__}; use a model's name as str")
    if not name.strip():
        raise InvalidValueError(f"model_name={name!r} is blank; use a name such as 'BAAI/bge-small-en-v1.5'")
    return name


def _checked_path(path: object, field: str) -> Path | None:
    if path is None or isinstance(path, Path):
        return path
    if not isinstance(path, str):
        raise InvalidTypeError(f"{field}={path!r} is a {type(path).__name__}; use a str, a Path or None")
    if not path.strip():
        raise InvalidValueError(f"{field}={path!r} is blank; use a folder, or None")
    return Path(path)


def _checked_optional_str(value: object, field: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise InvalidTypeError(f"{field}={value!r} is a {type(value).__name__}; use a str or None")
    return value


def _checked_threads(threads: object) -> int | None:
    allowed = "use a whole number of at least 1, or None for one per core"
    if threads is None:
        return None
    if isinstance(threads, bool) or not isinstance(threads, int):
        raise InvalidTypeError(f"threads={threads!r} is a {type(threads).__name__}; {allowed}")
    if threads < 1:
        raise InvalidValueError(f"threads={threads!r} is too small; {allowed}")
    return threads


def _checked_flag(value: object, field: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidTypeError(f"{field}={value!r} is a {type(value).__name__}; use True or False")
    return value
