"""The first settings file, made of a provider's."""

import tomllib

from bff.settings.first_file import Question, fill, questions, title, to_register

TEXT = """# Example ID (3 and later). `bff init example` makes a bff.toml of this file.
#
# - A note.

[server]
# The origin.
# Of the page.
public_url = "https://app.example.com"
port = 8080

[provider]
client_id = "spa-bff"
# The last one is yours.
scopes = ["openid", "api://example/access"]

[[route]]
upstream = "http://127.0.0.1:8000"

[spa]
dir = "dist"
"""


def test_the_first_line_names_the_provider() -> None:
    """Up to the first full stop."""
    assert "Example ID (3 and later)" == title(TEXT)


def test_what_the_user_knows_is_asked_for() -> None:
    """Examples, the client, the API and the page, each with the comment above it; nothing else."""
    assert [
        Question("server.public_url", "https://app.example.com", "The origin. Of the page."),
        Question("provider.client_id", "spa-bff", ""),
        Question("provider.scopes", "api://example/access", "The last one is yours."),
        Question("route.upstream", "http://127.0.0.1:8000", ""),
        Question("spa.dir", "dist", ""),
    ] == questions(TEXT)


def test_answers_take_the_place_of_examples() -> None:
    """Quotes and backslashes of an answer included; comments stay."""
    filled = fill(TEXT, {"provider.client_id": 'a"b\\c', "provider.scopes": "api://orders/all"})
    loaded = tomllib.loads(filled)
    assert 'a"b\\c' == loaded["provider"]["client_id"]
    assert ["openid", "api://orders/all"] == loaded["provider"]["scopes"]
    assert "https://app.example.com" == loaded["server"]["public_url"]
    assert "# The last one is yours." in filled


def test_the_notes_name_the_addresses_to_register() -> None:
    """By the origin that was given; where it is none, the notes stay as they are."""
    notes = TEXT.replace("# - A note.", "#   URI <public_url>/bff/callback, and [<public_url>/]")
    filled = fill(notes, {"server.public_url": "https://shop.acme.test/"})
    assert "URI https://shop.acme.test/bff/callback, and [https://shop.acme.test/]" in filled
    addresses = ["https://shop.acme.test/bff/callback", "https://shop.acme.test/"]
    assert addresses == to_register(filled, "https://shop.acme.test/")
    for given in ({}, {"server.public_url": "https://a\nb = 1"}):
        assert "<public_url>/bff/callback" in fill(notes, given)
        assert [] == to_register(fill(notes, given), given.get("server.public_url", ""))


def test_a_page_with_an_address_is_a_development_server() -> None:
    """`spa.url`, then, and no folder."""
    loaded = tomllib.loads(fill(TEXT, {"spa.dir": "http://127.0.0.1:5173"}))
    assert {"url": "http://127.0.0.1:5173"} == loaded["spa"]
