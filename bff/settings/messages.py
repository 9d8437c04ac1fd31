"""Messages about mistakes in the settings, from pydantic's errors and from guesses. Pure.

Rule 1: no text repeats a value: it could be a secret in the wrong place.
"""

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic_core import ErrorDetails

from bff.settings.model import (
    ForwardAuthSettings,
    FrontendSettings,
    LimitSettings,
    LogSettings,
    MintedSettings,
    ProviderSettings,
    RedisSettings,
    RefreshSettings,
    RouteSettings,
    Section,
    ServerSettings,
    SessionSettings,
    SpaSettings,
    TelemetrySettings,
)
from bff.settings.setting_places import place_of
from bff.settings.value_types import METHOD, SLUG

SECTIONS: Mapping[str, type[Section]] = {
    "server": ServerSettings,
    "redis": RedisSettings,
    "session": SessionSettings,
    "refresh": RefreshSettings,
    "provider": ProviderSettings,
    "frontend": FrontendSettings,
    "route": RouteSettings,
    "spa": SpaSettings,
    "limits": LimitSettings,
    "forward_auth": ForwardAuthSettings,
    "minted": MintedSettings,
    "log": LogSettings,
    "telemetry": TelemetrySettings,
}
"""Every section's model, by its name in the file."""

_TYPES: Mapping[str, tuple[str, str]] = {
    "bool_parsing": ("is not true or false", "write true or false"),
    "bool_type": ("is not true or false", "write true or false"),
    "dict_type": ("is not a table", 'write it like { name = "value" }'),
    "float_parsing": ("is not a number", 'write a number, or a duration like "30s"'),
    "float_type": ("is not a number", 'write a number, or a duration like "30s"'),
    "finite_number": ("is not a finite number", "write how long it is"),
    "int_from_float": ("is not a whole number", "write a whole number"),
    "int_parsing": ("is not a whole number", "write a whole number"),
    "int_type": ("is not a whole number", "write a whole number"),
    "ip_v4_network": ("is not an address or network", 'write it like "10.0.0.7" or "10.0.0.0/8"'),
    "ip_v6_network": ("is not an address or network", 'write it like "10.0.0.7" or "10.0.0.0/8"'),
    "path_type": ("is not a path", "write the path as a text in quotes"),
    "string_type": ("is not a text", "write it in quotes"),
    "tuple_type": ("is not a list", 'write it like ["a", "b"]; in the environment like a,b'),
}
_FORMS: Mapping[str, tuple[str, str]] = {
    METHOD: ("is not the name of a method", 'write it in capitals, like "GET"'),
    SLUG: ("is not a plain name", 'write small letters, digits and "-", like "main"'),
}
"""The patterns that a person meets, in words."""

_BOUNDS: Mapping[str, tuple[str, str]] = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than_equal": ("le", "at most"),
}


def env_name(section: str, key: str) -> str:
    """The environment variable of a setting."""
    return f"BFF_{section}__{key}".upper()


def describe(error: ErrorDetails) -> tuple[str, str]:
    """The message and the remedy for a value that the model refused."""
    kind, context = error["type"], error.get("ctx", {})
    place, name = place_of(error["loc"]), str(error["loc"][-1])
    section, header = place.section, place.header
    if kind == "missing":
        env = f", or as {env_name(section, name)}" if len(place.table) == 1 else ""
        words = ("is missing", f"set it under {header}{env}")
    elif kind == "extra_forbidden" and len(error["loc"]) == 1:
        words = ("is not a section", _unknown_section(section))
    elif kind == "extra_forbidden":
        words = ("is not a setting", _unknown_key(section, name))
    elif kind == "value_error":
        message, _, fix = str(context["error"]).partition(": ")
        words = (f"is {message}", fix)
    elif error["loc"] in {("route",), ("frontend",)}:
        words = ("is not a list of tables", f"begin each with the line {header}")
    elif kind in {"model_type", "model_attributes_type"}:
        words = ("is not a table", f"begin the section with the line {header}")
    else:
        words = describe_value(error)
    return words


def describe_value(error: ErrorDetails) -> tuple[str, str]:
    """Describes a wrong value of any model, by its kind and bounds alone."""
    kind, context = error["type"], error.get("ctx", {})
    return _TYPES.get(kind) or _formed(kind, context) or ("is not valid", error["msg"])


def _formed(kind: str, context: Mapping[str, Any]) -> tuple[str, str] | None:
    if kind == "literal_error":
        return "is none of the words known here", f"write {context['expected']}"
    if kind == "string_pattern_mismatch":
        return _FORMS.get(context["pattern"]) or (
            "does not have the right form",
            f"it must match {context['pattern']}",
        )
    for name, bound in _BOUNDS.items():
        if kind == name:
            return "is out of bounds", f"it must be {bound[1]} {context[bound[0]]:g}"
    return None


def nearest(section: str, key: str) -> str | None:
    """Guesses the key of a section that an unknown key was meant to be."""
    return next(iter(difflib.get_close_matches(key, SECTIONS[section].model_fields, n=1)), None)


def _unknown_section(name: str) -> str:
    if home := _home(name):
        return home
    if near := difflib.get_close_matches(name, SECTIONS, n=1):
        return f"did you mean [{near[0]}]?"
    return f"the sections are {', '.join(SECTIONS)}"


def _unknown_key(section: str, key: str) -> str:
    own = [f'"{name}"' for name in SECTIONS[section].model_fields if f"_{key}_" in f"_{name}_"]
    if own:  # "timeout" for "response_timeout"
        return f"did you mean one of [{section}]: {', '.join(own)}?" if own[1:] else _meant(own[0], section)
    if home := _home(key):
        return home
    if near := nearest(section, key):
        return _meant(f'"{near}"', section)
    return f"[{section}] knows {', '.join(SECTIONS[section].model_fields)}"


def _meant(name: str, section: str) -> str:
    return f"did you mean {name} in [{section}]?"


def _home(key: str) -> str | None:
    homes = [f"[{name}]" for name, model in SECTIONS.items() if key in model.model_fields]
    return f"it belongs under {' or '.join(homes)}" if homes else None


def unknown_variable(name: str) -> str:
    """Guesses the variable that an unknown `BFF_…` variable was meant to be."""
    for listed in ("route", "frontend"):
        if name.upper().startswith(f"BFF_{listed}".upper()):
            return f"{listed}s come from the environment as one JSON list of objects: BFF_{listed.upper()}"
    known = [env_name(section, key) for section, model in SECTIONS.items() for key in model.model_fields]
    if near := difflib.get_close_matches(
        name.upper(), [*known, "BFF_ROUTE", "BFF_FRONTEND", "BFF_CONFIG"], n=1
    ):
        return f"did you mean {near[0]}?"
    return "variables are named BFF_SECTION__KEY, with two underscores in the middle"
