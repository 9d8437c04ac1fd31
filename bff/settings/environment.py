"""Settings from environment variables: `BFF_SECTION__KEY`, and lists of sections as JSON (`BFF_ROUTE`).

Rule 1: a `BFF_…` variable without a setting is a problem, and not ignored: it was set for a purpose.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, get_origin

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from bff.settings.messages import SECTIONS, env_name, unknown_variable
from bff.settings.model import Settings
from bff.settings.problem import SettingProblem

CONFIG = "BFF_CONFIG"
"""The variable that names the settings file."""

# The variables that Kubernetes sets in every pod beside a Service named `bff`, or `bff-…`.
_SERVICE_LINK = re.compile(
    r"BFF_(?:[A-Z0-9_]+_)?"
    r"(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_SERVICE_PORT = re.compile(r"BFF_(?:[A-Z0-9_]+_)?PORT")


_WHOLE = frozenset({"BFF_ROUTE", "BFF_FRONTEND"})
"""Lists of sections, which come as one JSON list each."""


class Sources(Settings, BaseSettings):
    """The settings' model in the form of pydantic-settings; it makes sources only, never settings."""

    model_config = SettingsConfigDict(env_prefix="BFF_", env_nested_delimiter="__", env_ignore_empty=True)


class Environment(EnvSettingsSource):
    """The variables of one environment, as nested values.

    Attributes:
        values: the values that are set, by section.
        problems: the variables that cannot be used.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__(Sources)
        self._names = {name.upper(): name for name in environ if _is_setting(name)}
        self.env_vars = {name.lower(): environ[name] for name in self._names.values() if environ[name]}
        self.problems = list(_unknown(environ))
        self.values: dict[str, Any] = self()

    def name_of(self, section: str, key: str) -> str | None:
        """Returns the variable that sets a key; None without one."""
        whole = f"BFF_{section}".upper()
        wanted = whole if whole in _WHOLE else env_name(section, key)
        for upper, name in self._names.items():
            given = upper in {wanted, whole} or upper.startswith(wanted + "__")
            if name.lower() in self.env_vars and given:
                return name
        return None

    def decode_complex_value(self, field_name: str, field: FieldInfo | None, value: Any) -> Any:
        """Reads JSON if the text begins like JSON, else a list that is separated by commas."""
        if value.lstrip().startswith(("[", "{")):
            try:
                return json.loads(value)
            except ValueError as error:
                self._refuse(field_name, value, error)
                return None
        if field is None or get_origin(field.annotation) is dict:
            return value
        return [part.strip() for part in value.split(",") if part.strip()]

    def _refuse(self, field_name: str, value: str, error: ValueError) -> None:
        for name in self._names.values():
            if self.env_vars.get(name.lower()) == value and name.lower().endswith(field_name.lower()):
                key = name.lower().removeprefix("bff_").replace("__", ".")
                problem = SettingProblem(
                    key, f"is not valid JSON: {error}", "write it as JSON, in one line", f"env {name}"
                )
                self.problems.append(problem)


def _is_setting(name: str) -> bool:
    upper = name.upper()
    if upper in {*_WHOLE, "BFF_PROVIDER"}:
        return True
    section, separator, key = upper.removeprefix("BFF_").lower().partition("__")
    if not upper.startswith("BFF_") or not separator or section not in SECTIONS:
        return False
    if f"BFF_{section}".upper() in _WHOLE:
        return False
    field, nested, _ = key.partition("__")
    known = SECTIONS[section].model_fields.get(field)
    return known is not None and (not nested or get_origin(known.annotation) is dict)


def _unknown(environ: Mapping[str, str]) -> Iterator[SettingProblem]:
    for name, value in sorted(environ.items()):
        upper = name.upper()
        if (
            not upper.startswith("BFF_")
            or upper == CONFIG
            or _is_setting(name)
            or _is_service_link(upper, value)
        ):
            continue
        yield SettingProblem(
            "", f"the variable {name} is not a setting", unknown_variable(name), f"env {name}"
        )


def _is_service_link(name: str, value: str) -> bool:
    port = _SERVICE_PORT.fullmatch(name) and re.match(r"(?:tcp|udp|sctp)://", value)
    return bool(port or _SERVICE_LINK.fullmatch(name))
