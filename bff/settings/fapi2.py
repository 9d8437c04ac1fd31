"""FAPI 2.0 (Security Profile, final) as the profile of a provider: the settings that contradict it. Pure.

The rest is so for every provider: code flow with PKCE S256 alone, one redirect URI to the letter, assertions
of a minute, a code sent once.
"""

from collections.abc import Iterator

from bff.settings.client_key import PrivateKey, algorithms_of, read_client_key
from bff.settings.model import ProviderSettings
from bff.settings.problem import Finding
from bff.settings.value_types import FAPI2_ALGS, FAPI2_AUTH

_NEEDS = ("provider.profile",)


def check_fapi2(provider: ProviderSettings) -> Iterator[Finding]:
    """Findings about settings that contradict `profile = "fapi2"`; none for another profile."""
    if provider.profile != "fapi2":
        return
    if provider.client_auth not in FAPI2_AUTH:
        yield _finding(
            "client_auth",
            f'is "{provider.client_auth}": FAPI 2.0 forbids client secrets (5.3.3.1)',
            'remove the line, which makes it "private_key_jwt", or write "tls_client_auth"',
        )
    if provider.token_binding == "none":  # noqa: S105 - a way, and no password
        yield _finding(
            "token_binding",
            'is "none": FAPI 2.0 takes tokens that are bound to a key or certificate (5.3.2.1)',
            'remove the line, which makes it "dpop", or write "mtls"',
        )
    if provider.par != "always":
        yield _finding(
            "par",
            f'is "{provider.par}": FAPI 2.0 pushes each authorization request (5.3.3.2)',
            'remove the line, which makes it "always"',
        )
    if provider.client_assertion_aud != "issuer":
        yield _finding(
            "client_assertion_aud",
            "names the token endpoint: FAPI 2.0 wants assertions for the issuer alone (5.3.3.1)",
            'remove the line, which makes it "issuer"',
        )
    if weak := [alg for alg in provider.id_token_algs if alg not in FAPI2_ALGS]:
        yield _finding(
            "id_token_algs",
            f"allows {', '.join(weak)}, which FAPI 2.0 does not (5.4.1)",
            f"remove the line, or name {', '.join(FAPI2_ALGS)} alone",
        )
    yield from _key(provider)


def _key(provider: ProviderSettings) -> Iterator[Finding]:
    try:
        key = read_client_key(provider.client_key.get_secret_value()) if provider.client_key else None
    except ValueError:
        return  # told of elsewhere
    if key is not None and not fapi2_algs_of(key):
        yield _finding(
            "client_key",
            "signs by none of the algorithms of FAPI 2.0 (5.4.1)",
            "use a key on P-256 or Ed25519, or an RSA key for PS256: bff keys client",
            "provider.client_key_file",
        )


def fapi2_algs_of(key: PrivateKey) -> tuple[str, ...]:
    """Returns the algorithms of the profile that a key may sign by."""
    return tuple(alg for alg in algorithms_of(key) if alg in FAPI2_ALGS)


def _finding(name: str, message: str, fix: str, *needs: str) -> Finding:
    return Finding(f"provider.{name}", message, fix, needs=(*_NEEDS, *needs))
