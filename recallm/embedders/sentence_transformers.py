"""Sentence Transformers: models on PyTorch, from the hub or a folder."""

from __future__ import annotations

import hashlib
import importlib
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from recallm import checks
from recallm.concurrency.forking import ForkSafeLock
from recallm.embedders.base import LoadedModel, LoadOnUseEmbedder, measured_dim
from recallm.embedders.model_files import is_installed
from recallm.embedders.tokens import TokenReader
from recallm.errors import MissingExtraError, ModelUnavailableError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_HUB_SECONDS = 10.0
"""How long to wait for the hub's description of a model, which is a single small request."""


class SentenceTransformerEmbedder(LoadOnUseEmbedder):
    """A model run by Sentence Transformers on PyTorch, for models without ONNX files, or on a GPU.

    Needs the extra ``torch``. Construction reads nothing; the model is loaded by `load` or by the first text, from the
    local cache or, if it is not there, from the hub. Code that a model brings is not run.

    Args:
        model_name: a folder, or a model on the hub: a name without an owner is one of sentence-transformers.
        device: such as "cpu" or "cuda"; None: the library's choice.
        cache_dir: where fetched models are kept; None: the hub client's own.
        revision: a commit, tag or branch of the model; None: the newest.
        local_files_only: never fetch; the model must be in the cache or a folder.

    Raises:
        InvalidTypeError: an argument has another type.
        InvalidValueError: `model_name` is blank.
        MissingExtraError: the extra ``torch`` is not installed.
    """

    _remedy: ClassVar[str] = "check the network and the cache, name a folder, or use FastEmbedEmbedder.offline()"

    def __init__(
        self,
        model_name: str = "sentence-transformers/all-MiniLM-L6-v2",
        *,
        device: str | None = None,
        cache_dir: str | Path | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> None:
        super().__init__(checks.model_name(model_name))
        self._device = checks.optional_text(device, "device")
        self._cache_dir = checks.optional_path(cache_dir, "cache_dir")
        self._revision = checks.optional_text(revision, "revision")
        self._local_files_only = checks.flag(local_files_only, "local_files_only")
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

    def _load_model(self) -> LoadedModel:
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
                f"{self.model_name!r} has no fast tokenizer, so nothing shows how much it reads of a prompt; "
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


def _folder_digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()}:{content}\n".encode())
    return digest.hexdigest()
