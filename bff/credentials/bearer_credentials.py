"""The bearer tokens that clients bring to a route with `auth = "session or bearer"`.

Rule 1: a token is checked first: signature, issuer, audience and time, by `bff.verify`. One that is bound to
a key or a certificate is refused: its proof was made for this proxy, not for the backend.
Rule 2: keys and revocations that cannot be had are no verdict: 503, and never 401.
Rule 3: the route's rules see the token's claims as they would see a sign-in's; nobody is led to a sign-in.
Rule 4: a stream or a WebSocket ends with the token that it was opened by (`bearer_watch.py`).
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, assert_never

from bff.credentials.bearer_revocations import revocations_of, rule_of
from bff.credentials.bearer_watch import BearerWatch
from bff.credentials.credential import Refused, TokenOnly
from bff.errors import Problem, ProviderUnavailableError
from bff.oidc.client import OidcClient
from bff.policy.fields import Header
from bff.policy.route_access import RouteAccess
from bff.policy.step_up import Demand
from bff.settings.model import RouteSettings
from bff.tasks import Tasks
from bff.verify import PLAIN_JWT, RFC9068, Claims, Refusal, TokenRefusedError, TokenVerifier
from bff.verify.fetch import FetchError

_PROVIDERS = "the provider's key set"
_INSUFFICIENT = "insufficient_user_authentication"
_RETRY_AFTER = 2.0
_NO_MORE = frozenset({"EdDSA"})  # as a name; RFC 9864 has Ed25519


class BearerAccess:
    """The check of the bearer tokens on one route, whose rule is `access`.

    `leeway` is in seconds, as the verifier's; `every` as for `BearerWatch`.
    """

    def __init__(
        self,
        verifier: TokenVerifier,
        access: RouteAccess | None,
        *,
        leeway: float,
        every: float,
        tasks: Tasks,
        clock: Callable[[], float],
    ) -> None:
        self._verifier = verifier
        self._access = access
        self._leeway = leeway
        self._clock = clock
        self.watch = BearerWatch(self._ended, _refused, every=every, tasks=tasks, clock=clock)

    async def credential(self, token: bytes) -> TokenOnly | Refused:
        """Returns the credential of a call that brings this token."""
        try:
            text = token.decode("ascii")
            verified = await self._verifier.verify(text)
        except UnicodeDecodeError:
            return _refused(Refusal.MALFORMED.reason)
        except TokenRefusedError as error:
            if error.refusal is Refusal.UNAVAILABLE:
                return Refused(Problem.PROVIDER_UNAVAILABLE, retry_after=_RETRY_AFTER)
            return _refused(error.refusal.reason)
        claims = _claims(verified)
        return self._judged(claims) or TokenOnly(text, claims=claims, ends=verified.exp + self._leeway)

    async def _ended(self, token: str) -> str | None:
        """Returns why a token that was good is so no more; None where it is, or nobody knows."""
        try:
            await self._verifier.verify(token)
        except TokenRefusedError as error:
            return None if error.refusal is Refusal.UNAVAILABLE else error.refusal.reason
        return None

    def _judged(self, claims: Mapping[str, Any]) -> Refused | None:
        access = self._access
        if access is None:
            return None
        match access.refusal(claims, self._clock(), bound=False):
            case None:
                return None
            case "claims" | "device":  # the settings' check lets no such route ask for a device
                return Refused(Problem.NOT_ALLOWED)
            case "sign_in":
                demand = access.demand
                return Refused(
                    Problem.INVALID_TOKEN, _INSUFFICIENT, headers=_challenge(_INSUFFICIENT, demand)
                )
            case other:
                assert_never(other)


class Verifiers:
    """The verifiers of a process: routes that ask for the same share one. `clock` as for `TokenVerifier`.

    Those of a `former` one serve on where the providers are the same. `redis_timeout`: the seconds to wait
    for the Redis of a route's revocations.
    """

    def __init__(
        self,
        providers: Iterable[OidcClient],
        tasks: Tasks,
        clock: Callable[[], float],
        redis_timeout: float,
        former: "Verifiers | None" = None,
    ) -> None:
        # the first one's tokens are taken unless a route names another issuer
        self._clients = list(providers)
        self._tasks = tasks
        self._clock = clock
        self._redis_timeout = redis_timeout
        same = former is not None and former._clients == self._clients  # noqa: SLF001 - of its own kind
        self._by_rule: dict[tuple[object, ...], TokenVerifier] = (
            dict(former._by_rule) if former is not None and same else {}  # noqa: SLF001 - of its own kind
        )

    def access(self, route: RouteSettings, rule: RouteAccess | None) -> BearerAccess | None:
        """Returns the check of bearer tokens on a route; None where it takes none."""
        if not route.takes_bearer():
            return None
        issuer = route.bearer_issuer or self._clients[0].settings.issuer
        client = next((one for one in self._clients if one.settings.issuer == issuer), self._clients[0])
        return BearerAccess(
            self._of(route, issuer, client),
            rule,
            leeway=client.settings.clock_skew,
            every=route.bearer_recheck,
            tasks=self._tasks,
            clock=self._clock,
        )

    def _of(self, route: RouteSettings, issuer: str, client: OidcClient) -> TokenVerifier:
        audience, provider = route.bearer_audience, client.settings
        assert audience is not None  # the settings' check sees to it
        rule = issuer, audience, route.bearer_type, *rule_of(route)
        if rule not in self._by_rule:
            self._by_rule[rule] = TokenVerifier(
                issuer=issuer,
                audience=audience,
                profile=RFC9068 if route.bearer_type == "at+jwt" else PLAIN_JWT,
                algorithms=[name for name in provider.id_token_algs if name not in _NO_MORE],
                leeway=provider.clock_skew,
                revocations=revocations_of(route, client, self._tasks, self._redis_timeout),
                jwks_uri=_PROVIDERS if issuer == provider.issuer else None,
                fetch=partial(_fetch, client),
                clock=self._clock,
            )
        return self._by_rule[rule]

    async def aclose(self) -> None:
        """Ends fetches of keys that are under way, and closes connections to revocation lists."""
        for verifier in self._by_rule.values():
            await verifier.close()


async def _fetch(client: OidcClient, url: str) -> Mapping[str, Any]:
    try:
        return await client.documents.public(None if url == _PROVIDERS else url)
    except ProviderUnavailableError as failure:
        raise FetchError(str(failure)) from None


def _refused(reason: str) -> Refused:
    return Refused(Problem.INVALID_TOKEN, reason, headers=_challenge("invalid_token", reason=reason))


def _challenge(error: str, demand: Demand | None = None, *, reason: str = "") -> tuple[Header, ...]:
    """Returns the `WWW-Authenticate` that tells why a token was refused (RFC 6750 3, RFC 9470 3)."""
    words = [f'Bearer error="{error}"']
    if reason:
        words.append(f'error_description="{reason}"')
    if demand is not None and demand.acr:
        words.append(f'acr_values="{" ".join(demand.acr)}"')
    if demand is not None and demand.max_age is not None:
        words.append(f"max_age={demand.max_age}")
    return ((b"www-authenticate", ", ".join(words).encode("ascii")),)


def _claims(claims: Claims) -> dict[str, Any]:
    """All claims of a token, as rules and headers name them."""
    named = {
        "sub": claims.sub,
        "sid": claims.sid or None,
        "client_id": claims.client_id,
        "scope": " ".join(sorted(claims.scope)),
        "role": claims.role,
        "tid": claims.tid,
    }
    return {**claims.rest, **{name: value for name, value in named.items() if value is not None}}
