"""Checks of the settings of forward-auth: secrets that are none, hosts that cannot be one. Pure."""

import re
from collections.abc import Iterator

from bff.settings.model import ForwardAuthSettings
from bff.settings.problem import Finding

SHORTEST = 32
"""Characters of a secret at least: 16 random bytes in hex."""

_RUN = "use 32 random bytes, as `openssl rand -hex 32` prints them"
_SECRET = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z=/-]{32,512}", re.ASCII)
_HOST = re.compile(
    r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?", re.ASCII
)


def check_forward_auth(settings: ForwardAuthSettings) -> Iterator[Finding]:
    """Findings about `[forward_auth]`."""
    key = "forward_auth.secrets"
    values = [secret.get_secret_value() for secret in settings.secrets]
    for number, value in enumerate(values, start=1):
        which = f"secret {number} of {len(values)}"
        if len(value) < SHORTEST:
            yield Finding(key, f"{which} is shorter than {SHORTEST} characters: it could be guessed", _RUN)
        elif not _SECRET.fullmatch(value):
            yield Finding(key, f"{which} holds characters that do not pass in a header unchanged", _RUN)
        elif len(set(value)) < SHORTEST // 4:
            yield Finding(key, f"{which} repeats a few characters only: it could be guessed", _RUN)
    if wrong := [host for host in settings.hosts if not _HOST.fullmatch(host)]:
        yield Finding(
            "forward_auth.hosts",
            f"holds values that are no Host: {', '.join(map(repr, wrong))}",
            'write it as the reverse proxy sends it, like "bff:8080"',
        )
    if settings.hosts and not values:
        yield Finding(
            "forward_auth.hosts",
            "names hosts of the reverse proxy, but there is no secret by which it could prove itself",
            "set secrets_file, or remove the line",
            needs=(key, "forward_auth.secrets_file"),
        )
