"""A browser and its system in words, as a `User-Agent` field tells them (RFC 9110 10.1.5). Pure.

Rule 1: the words are ours, but for the number of a version: a client's own text is not repeated.
Rule 2: it is a help for people who look for a device of theirs. Nothing is decided by it: a client can say
what it likes, and browsers freeze what they say (Windows 11 calls itself 10, every Mac 10_15_7).
"""

import re
from dataclasses import dataclass

_LONGEST = 512
"""Characters that are looked at: a field of a record may have been written by somebody else."""

_BROWSERS = (  # the first that is found: nearly all of them claim to be Chrome and Safari as well
    ("Edge", r"\b(?:Edg|EdgA|EdgiOS|Edge)/(\d{1,4})"),
    ("Opera", r"\b(?:OPR|OPT|Opera)/(\d{1,4})"),
    ("Samsung Internet", r"\bSamsungBrowser/(\d{1,4})"),
    ("Vivaldi", r"\bVivaldi/(\d{1,4})"),
    ("Yandex Browser", r"\bYaBrowser/(\d{1,4})"),
    ("DuckDuckGo", r"\b(?:DuckDuckGo|Ddg)/(\d{1,4})"),
    ("Firefox", r"\b(?:Firefox|FxiOS)/(\d{1,4})"),
    ("Chrome", r"\b(?:HeadlessChrome|Chrome|CriOS)/(\d{1,4})"),
    ("Safari", r"\bVersion/(\d{1,4})\S* (?:Mobile/\S+ )?Safari/"),
    ("curl", r"^curl/(\d{1,4})"),
)
_SYSTEMS = (  # likewise: Android says Linux as well, an iPhone "like Mac OS X"
    ("iPhone", r"\biPhone\b"),
    ("iPad", r"\biPad\b"),
    ("Android", r"\bAndroid\b"),
    ("Windows", r"\bWindows\b"),
    ("ChromeOS", r"\bCrOS\b"),
    ("macOS", r"\bMac(?:intosh| OS X)\b"),
    ("Linux", r"\b(?:Linux|X11)\b"),
)
_COMPILED_BROWSERS = [(name, re.compile(pattern)) for name, pattern in _BROWSERS]
_COMPILED_SYSTEMS = [(name, re.compile(pattern)) for name, pattern in _SYSTEMS]


@dataclass(frozen=True, slots=True)
class Device:
    """A browser, as "Firefox 128", and its system, as "Windows"; None where the field does not tell."""

    browser: str | None
    system: str | None


def described(user_agent: str) -> Device:
    """Describes a `User-Agent` field in words."""
    text = user_agent[:_LONGEST]
    browsers = ((name, pattern.search(text)) for name, pattern in _COMPILED_BROWSERS)
    browser = next((f"{name} {found[1]}" for name, found in browsers if found), None)
    system = next((name for name, pattern in _COMPILED_SYSTEMS if pattern.search(text)), None)
    return Device(browser, system)
