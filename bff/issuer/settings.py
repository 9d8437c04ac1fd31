"""The issuer's settings: frozen, checked all at once, from code, a TOML file or `ISSUER_…` variables."""

import stat
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from bff.crypto import KEY_BYTES, decode
from bff.issuer.client_settings import LOOPBACK, SCOPES, ClientSettings, ShownText, check_uri_text
from bff.settings.bounded_read import PATIENCE, read_bounded
from bff.settings.sections import Section
from bff.settings.value_types import Network, Seconds, SecondsOrZero

MAX_ACCESS_TOKEN_LIFETIME = 15 * 60.0
MAX_REFRESH_TOKEN_LIFETIME = 7 * 86400.0
MIN_RSA_BITS = 2048
_MAX_KEYS_FILE = 64 * 1024  # bytes

__all__ = [
    "DEMO_USERS",
    "SCOPES",
    "ClientSettings",
    "IssuerSettings",
    "PasswordCost",
    "UserSettings",
    "check_url",
    "load",
    "read_server_keys",
]


def check_url(value: str) -> str:
    """Refuses all but issuer identifiers (RFC 8414 section 2), and http outside of loopback."""
    parts = urlsplit(value)
    if parts.query or parts.fragment or "?" in value or "#" in value or not parts.hostname or parts.username:
        raise ValueError("must be a plain URL without query, fragment or credentials; remove them")
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise ValueError("must be https (http is for localhost only); write it as https://…")
    if value.endswith("/"):
        raise ValueError("must not end with a slash: clients compare it to the letter; remove it")
    check_uri_text(value)
    if set(parts.path) & set(";,"):
        raise ValueError("must have no ; or , in its path, which is that of cookies; use other names")
    return value


IssuerUrl = Annotated[str, AfterValidator(check_url)]
Role = Annotated[str, Field(pattern=r"^[A-Za-z0-9._~:-]{1,64}$")]


class UserSettings(Section):
    """An account that is made at start if its address has none; an existing one is left as it is."""

    email: str = Field(pattern=r"^[^@\s]{1,64}@[^@\s]{1,190}$")
    password: SecretStr
    name: ShownText
    sub: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._~-]{1,64}$")
    roles: tuple[Role, ...] = ()
    tenant: Annotated[str, Field(pattern=r"^[A-Za-z0-9._~:-]{0,64}$")] = ""


class PasswordCost(Section):
    """The cost of hashing one password; lower it in tests only.

    Attributes:
        time: argon2id's passes. The defaults are RFC 9106's second choice, above OWASP's least (19 MiB, 2).
        memory_kib: argon2id's memory.
        lanes: argon2id's lanes.
        at_once: the passwords that one process hashes at the same time: the memory it takes for that is
            `at_once` times `memory_kib`.
    """

    time: int = Field(default=3, ge=1)
    memory_kib: int = Field(default=64 * 1024, ge=8)
    lanes: int = Field(default=4, ge=1)
    at_once: int = Field(default=2, ge=1, le=64)

    @model_validator(mode="after")
    def _each_lane_has_memory(self) -> Self:
        if self.memory_kib < 8 * self.lanes:
            raise ValueError("memory_kib must be at least 8 for each lane (RFC 9106, 3.1); raise it")
        return self


class SignInLimits(Section):
    """Limits on wrong passwords; they are forgotten evenly over `window`.

    Attributes:
        window: seconds until as many more as the limit have been forgotten.
        per_address: from one address (IPv6: one /64), whatever the account.
        per_account: for one account, from all browsers that were never signed in to it.
        per_pair: for one account from one address. Less than `per_account`, so that no single client locks
            the account's owner out.
        per_device: for one account from a browser that was signed in to it before. The other limits are
            not asked then: strangers cannot lock that browser out.
    """

    window: Seconds = 15 * 60.0
    per_address: int = Field(default=60, ge=1)
    per_account: int = Field(default=40, ge=1)
    per_pair: int = Field(default=8, ge=1)
    per_device: int = Field(default=8, ge=1)

    @model_validator(mode="after")
    def _one_address_locks_nobody_out(self) -> Self:
        if self.per_pair >= self.per_account:
            raise ValueError(
                "per_pair must be less than per_account: else one address locks an owner out; lower per_pair"
            )
        return self


DEMO_USERS = (
    UserSettings(
        email="alice@example.com", password=SecretStr("wonderland"), name="Alice Liddell", sub="alice"
    ),
    UserSettings(email="bob@example.com", password=SecretStr("builder"), name="Bob Builder", sub="bob"),
)


class IssuerSettings(BaseSettings):
    """All settings of the issuer.

    Attributes:
        url: the issuer identifier, to the letter; its path, if any, is where the issuer is mounted.
        redis_url: the store of accounts, sign-ins, codes and refresh families.
        prefix: the beginning of all its Redis keys.
        audience: the `aud` of access tokens (RFC 9068): the name of the APIs.
        access_token_lifetime: at most 15 minutes.
        refresh_token_lifetime: of a whole family, from the sign-in on; at most 7 days.
        refresh_grace: seconds in which a client whose answer got lost may repeat a refresh, and gets the same
            new token again; 0 ends the sign-in instead.
        session_lifetime: seconds for which a browser stays signed in here.
        code_lifetime: seconds until an authorization code ends unused.
        server_keys: the keys that seal private signing keys in Redis, newest first, apart by commas or
            whitespace; each as `bff keys generate` prints it. Without one (on loopback only) each process
            makes a signing key of its own, and forgets it.
        server_keys_file: a file that holds them, in place of `server_keys`; followed while the issuer runs.
        algorithm: the algorithm of new signing keys; the next `bff issuer keys rotate` makes such a key.
        rsa_bits: of new RS256 keys.
        key_lead: seconds between the publication of a new signing key and its first signature: longer than
            any verifier keeps the key set without asking again.
        trusted_proxies: proxies whose `X-Forwarded-For` is believed; sign-ins are limited by client address.
    """

    model_config = SettingsConfigDict(
        env_prefix="ISSUER_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
    )

    url: IssuerUrl
    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    prefix: str = Field(default="issuer", pattern=r"^[A-Za-z0-9_.-]{1,32}$")
    audience: str = Field(default="api", min_length=1)
    clients: tuple[ClientSettings, ...] = ()
    users: tuple[UserSettings, ...] = ()
    access_token_lifetime: Annotated[Seconds, Field(le=MAX_ACCESS_TOKEN_LIFETIME)] = 5 * 60.0
    refresh_token_lifetime: Annotated[Seconds, Field(le=MAX_REFRESH_TOKEN_LIFETIME)] = (
        MAX_REFRESH_TOKEN_LIFETIME
    )
    refresh_grace: Annotated[SecondsOrZero, Field(le=60)] = 0.0
    session_lifetime: Seconds = 12 * 3600.0
    code_lifetime: Annotated[Seconds, Field(le=600)] = 60.0
    password_cost: PasswordCost = PasswordCost()
    sign_in_limits: SignInLimits = SignInLimits()
    trusted_proxies: tuple[Network, ...] = ()
    server_keys: SecretStr = SecretStr("")
    server_keys_file: Path | None = None
    algorithm: Literal["ES256", "RS256"] = "ES256"
    rsa_bits: Annotated[int, Field(ge=MIN_RSA_BITS, le=4096)] = MIN_RSA_BITS
    key_lead: Annotated[Seconds, Field(ge=1, le=7 * 86400)] = 10 * 60.0

    @model_validator(mode="after")
    def _clients_are_told_apart(self) -> Self:
        names = [client.client_id for client in self.clients]
        if len(names) != len(set(names)):
            raise ValueError("clients: two of them have the same client_id; rename one")
        return self

    @model_validator(mode="after")
    def _keys_can_be_used(self) -> Self:
        keys = self.sealing_keys
        if any(len(decode(key.rstrip("=")) or b"") != KEY_BYTES for key in keys):
            raise ValueError("server_keys: one is not 32 bytes in base64url; `bff keys generate` makes them")
        if self.secure and not keys:
            raise ValueError("server_keys: an https issuer needs one; `bff keys generate` makes it")
        return self

    @cached_property
    def sealing_keys(self) -> tuple[str, ...]:
        """The server keys, newest first; none if signing keys are not kept."""
        text = self.server_keys.get_secret_value()
        if self.server_keys_file is not None:
            if text:
                raise ValueError("server_keys: is set beside server_keys_file; keep one of the two")
            return read_server_keys(self.server_keys_file)
        return _keys_in(text)

    @property
    def secure(self) -> bool:
        """Return True if browsers reach the issuer by https."""
        return self.url.startswith("https://")

    @property
    def path(self) -> str:
        """The path under which everything is served; empty at the root."""
        return urlsplit(self.url).path

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic-settings passes it by name
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - same
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments win over the environment, and that over the TOML file; nothing else is read."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def read_server_keys(path: Path, patience: float = PATIENCE) -> tuple[str, ...]:
    """Returns the server keys in a file, newest first. A pipe may take `patience` seconds.

    Raises:
        ValueError: the file is bad; the text repeats nothing of it.
    """
    try:
        raw, state = read_bounded(path, _MAX_KEYS_FILE, patience)
        text, mode = raw.decode(), state.st_mode
    except FileNotFoundError as error:
        fix = f"make it by `bff keys generate > {path}`, or correct the path"
        raise ValueError(f"server_keys_file: there is no such file; {fix}") from error
    except UnicodeDecodeError as error:
        raise ValueError("server_keys_file: is no text; make it by `bff keys generate`") from error
    except OSError as error:
        raise ValueError("server_keys_file: cannot be read; let the issuer's user read it") from error
    if mode & stat.S_IWOTH:
        raise ValueError(f"server_keys_file: every user of this machine may write it; run chmod o-w {path}")
    return _keys_in(text)


def _keys_in(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


def load(config: Path | None = None) -> IssuerSettings:
    """Reads a TOML file, if any, and the environment; ValidationError lists every problem."""

    class FromFile(IssuerSettings):
        model_config = SettingsConfigDict(toml_file=config)

    return FromFile()  # type: ignore[call-arg] # the sources bring what is required
