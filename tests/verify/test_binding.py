"""Tokens that are bound to a key or a certificate: taken with the proof of it, and never without."""

from collections.abc import Sequence
from typing import Any

import pytest
from redis.asyncio import Redis

from bff.verify import (
    Dpop,
    Nonces,
    ProofMemory,
    RedisProofs,
    Refusal,
    RequestParts,
    TokenRefusedError,
    TokenVerifier,
)
from bff.verify.confirmation import thumbprint_of
from bff.verify.dpop import Proof
from tests.support.processes.redis import RedisServer
from tests.verify.proofs import PROVER, STRANGER, proof
from tests.verify.tokens import KEY, NOW, Documents, token, verifier

URL = "https://api.example.com/orders"
JKT = PROVER.thumbprint()
BOUND = token(cnf={"jkt": JKT})
DER = b"a certificate"
CERTIFIED = token(cnf={"x5t#S256": thumbprint_of(DER)})


def asked(
    text: str, *proofs: str, scheme: str = "DPoP", more: Sequence[tuple[str, str]] = (), **options: Any
) -> RequestParts:
    fields = [("Authorization", f"{scheme} {text}"), *(("DPoP", each) for each in proofs), *more]
    return RequestParts(**{"method": "GET", "url": URL, "headers": fields, **options})


def proved(text: str = BOUND, **changes: Any) -> str:
    return proof(URL, "GET", **{"iat": NOW, "token": text, **changes})


async def refused(checks: TokenVerifier, request: RequestParts) -> TokenRefusedError:
    with pytest.raises(TokenRefusedError) as caught:
        await checks.verify_request(request)
    return caught.value


@pytest.mark.requirement("P-03")
async def test_a_bound_token_is_taken_with_its_proof_once() -> None:
    """With a proof by its key it is good; the same proof again is refused, a new one is not."""
    checks, first = verifier(), proved()
    claims = await checks.verify_request(asked(BOUND, first))
    assert ("alice", JKT) == (claims.sub, claims.confirmation.jkt)
    again = await refused(checks, asked(BOUND, first))
    assert (Refusal.PROOF_REPLAYED, 401) == (again.refusal, again.status)
    algs = 'algs="ES256 PS256 EdDSA Ed25519"'
    told = f'DPoP error="invalid_dpop_proof", error_description="proof_replayed", {algs}'
    assert told == again.headers["WWW-Authenticate"]
    assert "alice" == (await checks.verify_request(asked(BOUND, proved()))).sub


@pytest.mark.requirement("P-03")
@pytest.mark.parametrize(
    ("request_", "refusal"),
    [
        (asked(BOUND, scheme="Bearer"), Refusal.BOUND),
        (asked(BOUND, proved(), scheme="Bearer"), Refusal.BOUND),
        (asked(BOUND), Refusal.PROOF_MISSING),
        (asked(BOUND, proved(), proved()), Refusal.PROOF_DOUBLED),
        (asked(BOUND, proved(key=STRANGER)), Refusal.PROOF_BINDING),
        (asked(BOUND, proved(token="another")), Refusal.PROOF_TOKEN),
        (asked(BOUND, proved(), method="POST"), Refusal.PROOF_METHOD),
        (asked(BOUND, proved(), url=f"{URL}/8"), Refusal.PROOF_URL),
        (asked(BOUND, proved(iat=NOW - 70)), Refusal.PROOF_TIME),
        (asked(token(), proved(token())), Refusal.UNBOUND),
        (asked(CERTIFIED, proved(CERTIFIED), certificate=DER), Refusal.UNBOUND),
        (asked(token(cnf={"kid": "x"}), scheme="Bearer"), Refusal.BOUND),
        (asked("nonsense", proved()), Refusal.MALFORMED),
    ],
    ids=lambda value: value.reason if isinstance(value, Refusal) else "",
)
async def test_each_lack_of_proof_is_refused(request_: RequestParts, refusal: Refusal) -> None:
    """As a bearer token, without a proof, by another key, for another call; a proof for an unbound token."""
    error = await refused(verifier(), request_)
    assert refusal == error.refusal
    scheme = "Bearer" if request_.values("authorization")[0].startswith("Bearer") else "DPoP"
    assert error.headers["WWW-Authenticate"].startswith(f"{scheme} error=")
    assert "DPoP " in error.headers["WWW-Authenticate"]


@pytest.mark.requirement("P-03")
async def test_where_nothing_but_a_token_is_looked_at_bound_ones_are_refused() -> None:
    """`verify` sees no proof: it takes bearer tokens alone."""
    for text in (BOUND, CERTIFIED):
        with pytest.raises(TokenRefusedError, match="bound"):
            await verifier().verify(text)
    assert "alice" == (await verifier().verify(token())).sub


@pytest.mark.requirement("P-03")
async def test_bound_tokens_can_be_demanded() -> None:
    """With `require_binding` a bearer token is refused, by `verify` as well."""
    checks = verifier(require_binding=True)
    error = await refused(checks, asked(token(), scheme="Bearer"))
    assert Refusal.UNBOUND == error.refusal
    assert ', DPoP algs="ES256' in error.headers["WWW-Authenticate"]
    with pytest.raises(TokenRefusedError, match="unbound"):
        await checks.verify(token())
    assert "alice" == (await checks.verify_request(asked(BOUND, proved()))).sub
    shown = asked(CERTIFIED, scheme="Bearer", certificate=DER)
    assert "alice" == (await checks.verify_request(shown)).sub


@pytest.mark.requirement("P-04")
async def test_a_token_of_a_certificate_needs_that_certificate() -> None:
    """Given by the server, or by a proxy's field where the settings name it, and by nothing else."""
    plain, told = verifier(), verifier(certificate_header="Client-Cert")
    field = ("client-cert", ":YSBjZXJ0aWZpY2F0ZQ==:")
    assert "alice" == (await plain.verify_request(asked(CERTIFIED, scheme="Bearer", certificate=DER))).sub
    assert "alice" == (await told.verify_request(asked(CERTIFIED, scheme="Bearer", more=[field]))).sub
    both = token(cnf={"x5t#S256": thumbprint_of(DER), "jkt": JKT})
    assert "alice" == (await told.verify_request(asked(both, proved(both), more=[field]))).sub
    for checks, request in (
        (plain, asked(CERTIFIED, scheme="Bearer")),
        (plain, asked(CERTIFIED, scheme="Bearer", more=[field])),
        (told, asked(CERTIFIED, scheme="Bearer", more=[field, field])),
        (told, asked(CERTIFIED, scheme="Bearer", more=[("client-cert", "?")])),
        (told, asked(CERTIFIED, scheme="Bearer", certificate=b"another", more=[field])),
        (told, asked(both, proved(both))),
    ):
        assert Refusal.CERTIFICATE == (await refused(checks, request)).refusal


@pytest.mark.requirement("P-03")
async def test_a_backend_may_ask_for_a_nonce() -> None:
    """Without its nonce a proof gets `use_dpop_nonce` with a nonce to use; an old one as well."""
    nonces, now = Nonces(b"k" * 32, lifetime=100), [NOW]
    checks = TokenVerifier(
        issuer="https://id.example.com",
        audience="orders-api",
        fetch=Documents(KEY).get,
        clock=lambda: now[0],
        dpop=Dpop(nonces=nonces),
    )
    error = await refused(checks, asked(BOUND, proved()))
    assert error.headers["WWW-Authenticate"].startswith('DPoP error="use_dpop_nonce"')
    nonce = error.headers["DPoP-Nonce"]
    good = proved(nonce=nonce)
    assert "alice" == (await checks.verify_request(asked(BOUND, good))).sub
    wrong = await refused(checks, asked(BOUND, good))
    assert (Refusal.PROOF_REPLAYED, None) == (wrong.refusal, wrong.headers.get("DPoP-Nonce"))
    assert nonces.is_good(nonce, NOW + 100)
    assert not nonces.is_good(nonce, NOW + 200)
    assert not nonces.is_good("é", NOW)
    assert nonce != Nonces().current(NOW)
    assert Refusal.PROOF_NONCE == (await refused(checks, asked(BOUND, proved(nonce="x")))).refusal
    assert (await checks.verify_request(asked(BOUND, proved(nonce=nonce)))).dpop_nonce is None
    now[0] = NOW + 100  # the next period: the nonce is good still, and the answer brings a newer one
    token_now = token(cnf={"jkt": JKT}, exp=NOW + 200)
    aged = await checks.verify_request(asked(token_now, proved(token_now, nonce=nonce, iat=now[0])))
    assert nonces.current(now[0]) == aged.dpop_nonce != nonce
    with pytest.raises(ValueError, match="at least 32"):
        Nonces(b"short")


@pytest.mark.requirement("P-03")
async def test_a_service_behind_a_proxy_says_what_it_is_called() -> None:
    """`base_url` stands for scheme, host and prefix, which the service does not see."""
    checks = verifier(dpop=Dpop(base_url="https://public.example/v1/"))
    inside = asked(BOUND, proof("https://public.example/v1/orders", "GET", iat=NOW, token=BOUND))
    assert "alice" == (await checks.verify_request(inside)).sub
    assert Refusal.PROOF_URL == (await refused(checks, asked(BOUND, proved()))).refusal
    with pytest.raises(ValueError, match="base_url"):
        Dpop(base_url="/orders")
    with pytest.raises(ValueError, match="public key"):
        Dpop(algorithms=("HS256",))


def _noted(number: int, iat: float = NOW) -> Proof:
    return Proof("jkt", str(number), iat)


@pytest.mark.requirement("P-03")
async def test_the_memory_is_bounded_and_forgets_in_no_ones_favour() -> None:
    """What was forgotten for lack of room is still refused, and so is all that is no newer."""
    memory = ProofMemory(size=3)
    for number in range(4):
        assert await memory.first_use(_noted(number, NOW + number), NOW + 60, NOW)
    assert 3 == len(memory)
    assert not await memory.first_use(_noted(0), NOW + 60, NOW)
    assert not await memory.first_use(_noted(9), NOW + 60, NOW)
    assert not await memory.first_use(_noted(3, NOW + 3), NOW + 60, NOW)
    assert await memory.first_use(_noted(8, NOW + 100), NOW + 160, NOW + 99)
    assert 1 == len(memory)
    await memory.close()


@pytest.mark.requirement("P-03")
async def test_processes_share_what_was_used(redis_server: RedisServer) -> None:
    """Two verifiers on one Redis take a proof once; without Redis the call is refused, as 503."""
    first, second = (verifier(dpop=Dpop(used=RedisProofs(redis_server.url, timeout=5))) for _ in range(2))
    text = proved()
    assert "alice" == (await first.verify_request(asked(BOUND, text))).sub
    assert Refusal.PROOF_REPLAYED == (await refused(second, asked(BOUND, text))).refusal
    async with Redis.from_url(redis_server.url) as client:
        (key,) = await client.keys("bff-verify:dpop:*")
        assert 60_000 < await client.pttl(key) <= 67_000
    await first.close()
    await second.close()
    away = verifier(dpop=Dpop(used=RedisProofs("redis://127.0.0.1:1")))
    error = await refused(away, asked(BOUND, proved()))
    assert (Refusal.UNAVAILABLE, 503) == (error.refusal, error.status)
    await away.close()
