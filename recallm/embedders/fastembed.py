"""FastEmbed, which runs small models on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from recallm import checks
from recallm.config import DEFAULT_MODEL
from recallm.embedders.base import LoadedModel, LoadOnUseEmbedder, measured_dim
from recallm.embedders.model_files import (
    OFFLINE_MODEL_ID,
    ModelFiles,
    folder_model,
    hub_model,
    offline_model,
    require_offline_package,
)
from recallm.embedders.onnx import forbid_telemetry
from recallm.embedders.tokens import TokenReader

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_THREADS_ALLOWED = "use a whole number of at least 1, or None for one per core"


class FastEmbedEmbedder(LoadOnUseEmbedder):
    """A model run by FastEmbed: small, on the CPU, without PyTorch. The default.

    Construction reads nothing; the model is loaded by `load` or by the first text. If its files are not in the cache,
    loading fetches them from the hub, in one attempt; without a network, use `offline`.

    Args:
        model_name: a model that FastEmbed knows.
        model_path: a folder with a model of your own, in place of `model_name`: an ONNX file
            (model.onnx, onnx/model.onnx or the only one), tokenizer.json and tokenizer_config.json.
            Token vectors are pooled as 1_Pooling/config.json says, else by their mean (a model
            trained for another pooling, such as bge, needs that file), and normalised.
        cache_dir: where fetched models are kept; None: ``FASTEMBED_CACHE_PATH``, else FastEmbed's own.
        threads: threads of one inference, at least 1; None: one per core. 1 serves many callers best. (The attribute
            of this name is another number: how many callers there may be at once.)
        local_files_only: never fetch; the model must be in the cache.

    Raises:
        InvalidTypeError: an argument has another type.
        InvalidValueError: `model_name` is blank, or `threads` is below 1.

    >>> FastEmbedEmbedder("BAAI/bge-small-en-v1.5")
    <FastEmbedEmbedder 'BAAI/bge-small-en-v1.5', not loaded>
    """

    def __init__(
        self,
        model_name: str = DEFAULT_MODEL,
        *,
        model_path: str | Path | None = None,
        cache_dir: str | Path | None = None,
        threads: int | None = None,
        local_files_only: bool = False,
    ) -> None:
        name = checks.model_name(model_name)
        folder, cache = checks.optional_path(model_path, "model_path"), checks.optional_path(cache_dir, "cache_dir")
        checks.flag(local_files_only, "local_files_only")
        super().__init__(name if folder is None else str(folder))
        self._threads = (
            None
            if threads is None
            else checks.positive_int(threads, "threads", use=_THREADS_ALLOWED, below="too small")
        )
        self._locate: Callable[[], ModelFiles] = (
            partial(hub_model, name, cache_dir=cache, local_files_only=local_files_only)
            if folder is None
            else partial(folder_model, folder)
        )

    @classmethod
    def offline(cls, *, threads: int | None = None) -> FastEmbedEmbedder:
        """Return an embedder on the all-MiniLM-L6-v2 that the extra ``offline`` installs. It needs no network, ever.

        The model has 384 dimensions, reads 512 tokens, and knows English. Its weights are int8, and their SHA-256 is
        checked when they are loaded. The `model_id` is known without loading.

        Args:
            threads: threads of one inference, as for the class.

        Raises:
            MissingExtraError: the extra is not installed.
        """
        require_offline_package()
        embedder = cls("all-MiniLM-L6-v2", threads=threads)
        embedder._known_id = OFFLINE_MODEL_ID
        embedder._locate = offline_model
        return embedder

    def _load_model(self) -> LoadedModel:
        forbid_telemetry()
        import numpy as np
        from fastembed import TextEmbedding

        files = self._locate()
        folder = str(files.folder)
        # The second argument is cache_dir, which nothing is read from; without it FastEmbed makes a temporary one.
        model = TextEmbedding(files.name, folder, self._threads, specific_model_path=folder)

        def embed_texts(texts: list[str]) -> NDArray[np.float32]:
            return np.asarray(list(model.embed(texts, batch_size=len(texts))), dtype=np.float32)

        tokenizer = model.model.tokenizer  # type: ignore[attr-defined]  # on every text model, not on their base
        reader = TokenReader(tokenizer, max_tokens=int(tokenizer.truncation["max_length"]))
        return LoadedModel(files.model_id, measured_dim(embed_texts), reader, embed_texts)
