"""What comes of payloads that somebody has changed: how long each takes, and whether anything else happens.

Run with ``python tests/benchmarks/fuzz_payloads.py``. The program fails if decoding raises anything but
`CorruptPayloadError`, takes more than 50 ms of processor time, or runs code of a class.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.mutated import RAN, mutations

from recallm.codec.codec import Codec
from recallm.errors import CorruptPayloadError

MOST_SECONDS = 0.05


def main() -> int:
    """Decode many payloads; return 1 if one is not as it should be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    codec, outcomes, slowest = Codec(), Counter[str](), [(0.0, b"")]
    made = mutations(given.seed)
    RAN.clear()
    for payload in islice(made, given.count):
        began = time.thread_time()
        try:
            codec.decode(payload)
            outcomes["a response"] += 1
        except CorruptPayloadError as error:
            outcomes[type(error).__name__] += 1
        except BaseException as error:  # noqa: BLE001  # what is looked for
            outcomes[f"BAD {error!r:.100}"] += 1
        slowest = sorted([*slowest, (time.thread_time() - began, payload)], reverse=True)[:3]
    for outcome, count in outcomes.most_common():
        print(f"{count:8,}  {outcome}")
    print("slowest, ms:", ", ".join(f"{1e3 * seconds:.2f}" for seconds, _ in slowest), "; code that ran:", RAN[:5])
    bad = bool(RAN) or slowest[0][0] > MOST_SECONDS or any(outcome.startswith("BAD") for outcome in outcomes)
    if slowest[0][0] > MOST_SECONDS:
        print("slowest payload:", slowest[0][1][:500])
    return bad


if __name__ == "__main__":
    sys.exit(main())
