"""The cost of a proof of possession for each call: `python3 -m tests.tools.bench.proofs`.

Each round makes as many proofs by either algorithm, one batch after the other, so that a machine that is busy
with other work slows both down alike. Printed are the medians of the batches' CPU time for one proof.
"""

import sys
import time
from statistics import median

from bff.credentials.backend_proofs import BackendProofs, NewestNonce, ProofKeys
from bff.oidc.dpop import ProofAlg, new_key
from bff.policy.routes import Upstream

ROUNDS, BATCH = 40, 200
TOKEN = b"e" * 800  # an access token of the usual length
ALGS: tuple[ProofAlg, ...] = ("ES256", "EdDSA")


def seconds_of(keys: list[bytes], *, ready: bool) -> float:
    """The CPU seconds of one proof by one of these keys, which are `ready` or have to be read first."""
    known = ProofKeys()
    nonce = NewestNonce()
    nonce.value = "a-nonce-of-the-backend"
    proofs = BackendProofs(Upstream("http", "orders", 8000), known, nonce, time.time)
    if ready:
        for key in keys:
            known.of(key)
    before = time.process_time()
    for key in keys:
        proofs.proof(key, TOKEN, b"GET", b"/v1/orders/7")
    return (time.process_time() - before) / len(keys)


def measured(rounds: int = ROUNDS, batch: int = BATCH) -> dict[tuple[ProofAlg, bool], float]:
    """The medians in microseconds, by the algorithm and whether the keys were ready."""
    keys = {alg: [new_key(alg).encode() for _ in range(batch)] for alg in ALGS}
    found: dict[tuple[ProofAlg, bool], list[float]] = {
        (alg, ready): [] for alg in ALGS for ready in (True, False)
    }
    for _ in range(rounds):
        for (alg, ready), times in found.items():
            times.append(seconds_of(keys[alg], ready=ready))
    return {name: 1e6 * median(times) for name, times in found.items()}


if __name__ == "__main__":
    for (alg, ready), microseconds in measured().items():
        sys.stdout.write(
            f"{alg:6} {'key at hand' if ready else 'key read first':15} {microseconds:6.1f} µs\n"
        )
