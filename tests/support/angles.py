"""An embedder whose similarities are written in the prompts."""

from __future__ import annotations


class Angles:
    """Embeds "0.9 …" so that its cosine with any text without a number in front is 0.9."""

    model_id = "angles"

    def __init__(self) -> None:
        self.texts: list[str] = []

    def embed(self, text: str) -> list[float]:
        """Return a vector of two dimensions."""
        self.texts.append(text)
        try:
            cosine = float(text.split(maxsplit=1)[0])
        except ValueError:
            cosine = 1.0
        return [cosine, (1 - cosine**2) ** 0.5]
