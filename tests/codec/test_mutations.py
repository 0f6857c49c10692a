"""Payloads that somebody has changed: responses or corrupt, never another error, and nothing of theirs is executed."""

from __future__ import annotations

from itertools import islice

import pytest
from support.mutated import RAN, VALUES, mutations, payloads

from recallm.codec.codec import Codec
from recallm.errors import CorruptPayloadError


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.filterwarnings("ignore:Possible nested set:FutureWarning")
def test_changed_payloads_do_no_harm(seed: int) -> None:
    """Bytes, values, tags and classes exchanged at random raise one kind of error, and run no code of a class."""
    codec = Codec()
    RAN.clear()
    for payload in islice(mutations(seed), 1000):
        try:
            codec.decode(payload)
        except CorruptPayloadError:
            continue
    assert RAN == []


def test_the_payloads_that_are_changed_are_good_ones() -> None:
    """Unchanged, each is decoded."""
    RAN.clear()
    assert [type(Codec().decode(payload)) for payload in payloads()] == [type(value) for value in VALUES]
    assert RAN == []
