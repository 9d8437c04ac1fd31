"""The issuer's pages: signing in and out as a browser does it, and as a foreign page would like to."""

import math
import re
from importlib import resources

import httpx
import pytest
from starlette.responses import Response

from bff.issuer.endpoints.browser import DEVICE_KEPT, Browser
from bff.issuer.endpoints.pages import Pages
from bff.issuer.settings import IssuerSettings
from tests.issuer.flow import Person, payload_of
from tests.support.processes.redis import RedisServer
from tests.support.providers.issuer import (
    ALICE,
    BOB,
    CLIENT_ID,
    RunningIssuer,
    query_of,
    read_form,
    sign_in_at,
)

AFTER = "http://localhost:8080/"


def test_the_page_is_made_for_browsers(person: Person) -> None:
    """Password managers find the fields; nobody can frame it; it needs no script; the form may redirect."""
    page = person.authorize(login_hint='a"<b>@example.com')
    policy = page.headers["content-security-policy"]
    assert {"email": "username", "password": "current-password"} == {
        name: found[1]
        for name in re.findall(r'<label for="(\w+)">', page.text)
        if (found := re.search(rf'<input id="{name}" name="{name}" [^>]*autocomplete="([a-z-]+)"', page.text))
    }
    assert "frame-ancestors 'none'" in policy
    assert "default-src 'none'" in policy
    assert "form-action 'self' http://localhost:8080;" in policy
    assert "<script" not in page.text
    assert 'value="a&#34;&lt;b&gt;@example.com"' in page.text
    assert "no-store" == page.headers["cache-control"]
    assert "same-origin" == page.headers["referrer-policy"]


def test_a_name_is_text_and_stands_apart() -> None:
    """Markup in a client's name is shown, and a direction that it begins ends with it."""
    page = Pages("http://localhost:9000").sign_in(
        client="<b>\u05d7\u05e0\u05d5\u05ea",
        action="/",
        csrf="c",
        email="",
        form_target="http://localhost:8080",
    )
    assert "<bdi>&lt;b&gt;\u05d7\u05e0\u05d5\u05ea</bdi>" in bytes(page.body).decode()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("front", "back", "least"),
    [
        ("text", "card", 7.0),
        ("soft", "card", 4.5),
        ("text", "field", 7.0),
        ("strong-text", "strong", 4.5),
        ("bad", "bad-page", 4.5),
        ("edge", "field", 3.0),
        ("edge", "card", 3.0),
        ("strong", "card", 3.0),
    ],
)
def test_colours_can_be_told_apart(scheme: str, front: str, back: str, least: float) -> None:
    """Text has the contrast of WCAG 2.2 AA (1.4.3), what can be used that of 1.4.11, in both schemes."""
    style = resources.files("bff.issuer").joinpath("templates", "page.css").read_text()
    light, _, dark = style.partition("prefers-color-scheme: dark")
    found = dict(re.findall(r"--([a-z-]+): #([0-9a-f]{6});", dark if scheme == "dark" else light))
    lighter, darker = sorted((_luminance(found[front]), _luminance(found[back])), reverse=True)
    assert least <= (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    """WCAG's relative luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else math.pow((part + 0.055) / 1.055, 2.4) for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.requirement("J-11")
def test_wrong_password_and_unknown_address_look_the_same(person: Person) -> None:
    """The page says the same for a wrong password and for an address that nobody has."""
    pages = []
    for who in (("alice@example.com", "wrong"), ("nobody@example.com", "wrong")):
        answer = sign_in_at(person.authorize(), person.http, who)
        assert 422 == answer.status_code
        pages.append(answer.text.replace(who[0], "somebody"))
    assert pages[0] == pages[1]
    assert "alice" not in pages[0]


def test_a_form_without_its_token_signs_nobody_in(person: Person) -> None:
    """A form with another CSRF token, or without the cookie, gets the page again, and no session."""
    action, csrf = read_form(person.authorize())
    form = {"email": ALICE[0], "password": ALICE[1]}
    for wrong in ("", "x" * 43, csrf[:-1]):
        answer = person.http.post(action, data={**form, "csrf": wrong})
        assert 422 == answer.status_code
        assert "issuer-session" not in person.http.cookies
    with httpx.Client() as without_cookie:
        assert 422 == without_cookie.post(action, data={**form, "csrf": csrf}).status_code


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_form_from_elsewhere_signs_nobody_in(person: Person, headers: dict[str, str]) -> None:
    """What the browser says about the sender is believed over a right token."""
    action, csrf = read_form(person.authorize())
    form = {"email": ALICE[0], "password": ALICE[1], "csrf": csrf}
    assert 422 == person.http.post(action, data=form, headers=headers).status_code
    assert "issuer-session" not in person.http.cookies


def test_two_open_pages_both_work(person: Person) -> None:
    """A second sign-in page does not spoil the form of the first."""
    first, _ = person.authorize(), person.authorize()
    assert 303 == sign_in_at(first, person.http).status_code


def test_each_sign_in_has_a_new_cookie(person: Person) -> None:
    """Each sign-in takes a new session id, and the one before is dead."""
    sign_in_at(person.authorize(), person.http)
    old = person.http.cookies["issuer-session"]
    sign_in_at(person.authorize(prompt="login"), person.http)
    assert old != person.http.cookies["issuer-session"]
    person.http.cookies.clear()
    person.http.cookies.set("issuer-session", old)
    assert "login_required" == query_of(person.authorize(prompt="none").headers["location"])["error"]


COOKIES = [
    (
        "http://localhost:9000",
        {
            "issuer-session": "HttpOnly; Path=/; SameSite=lax",
            "issuer-csrf": "HttpOnly; Path=/; SameSite=lax",
            "issuer-device": "HttpOnly; Path=/sign-in; SameSite=strict",
        },
    ),
    (
        "https://id.example.com",
        {
            "__Host-issuer-session": "HttpOnly; Path=/; SameSite=lax; Secure",
            "__Host-issuer-csrf": "HttpOnly; Path=/; SameSite=lax; Secure",
            "__Secure-issuer-device": "HttpOnly; Path=/sign-in; SameSite=strict; Secure",
        },
    ),
    (
        "https://example.com/id",
        {
            "__Secure-issuer-session": "HttpOnly; Path=/id; SameSite=lax; Secure",
            "__Secure-issuer-csrf": "HttpOnly; Path=/id; SameSite=lax; Secure",
            "__Secure-issuer-device": "HttpOnly; Path=/id/sign-in; SameSite=strict; Secure",
        },
    ),
]


@pytest.mark.requirement("J-10")
@pytest.mark.parametrize(("url", "expected"), COOKIES)
def test_cookies_are_kept_from_scripts_and_strangers(url: str, expected: dict[str, str]) -> None:
    """HttpOnly, SameSite, Secure on https, and no wider path than there is use for."""
    browser, response = Browser(IssuerSettings.model_construct(url=url)), Response()
    browser.set_session(response, "x" * 43)
    browser.set_csrf(response, "x" * 43)
    browser.set_device(response, "x" * 43)
    assert expected == {
        cookie.partition("=")[0]: "; ".join(sorted(_attributes(cookie) - {f"Max-Age={DEVICE_KEPT}"}))
        for cookie in response.headers.getlist("set-cookie")
    }


@pytest.mark.requirement("J-10")
@pytest.mark.parametrize("url", [url for url, _ in COOKIES])
def test_a_cookie_is_cleared_as_it_was_set(url: str) -> None:
    """A browser drops a cookie only if name, path and Secure are those that it was set with."""
    browser, response = Browser(IssuerSettings.model_construct(url=url)), Response()
    browser.set_session(response, "x" * 43)
    browser.clear_session(response)
    made, cleared = response.headers.getlist("set-cookie")
    assert made.partition("=")[0] == cleared.partition("=")[0]
    assert _attributes(made) | {"Max-Age=0"} == _attributes(cleared)


def test_a_cookie_that_comes_twice_is_none(person: Person) -> None:
    """Two cookies of one name, as a sibling host can bring about: nobody is signed in, whichever is first."""
    sign_in_at(person.authorize(), person.http)
    good = person.http.cookies["issuer-session"]
    for both in ((good, "x" * 43), ("x" * 43, good), (good, good)):
        header = "; ".join(f"issuer-session={value}" for value in both)
        request = person.request(prompt="none")
        answer = httpx.get(f"{person.issuer.url}/authorize", params=request, headers={"Cookie": header})
        assert "login_required" == query_of(answer.headers["location"])["error"]


def _attributes(cookie: str) -> set[str]:
    return {part.strip() for part in cookie.split(";")[1:]}


def test_an_invented_cookie_is_nobody(person: Person) -> None:
    """A session id that the client made up is never taken over."""
    person.http.cookies.set("issuer-session", "x" * 43)
    sign_in_at(person.authorize(), person.http)
    assert "x" * 43 not in [cookie.value for cookie in person.http.cookies.jar if cookie.domain]


def test_sign_out_with_a_hint_goes_straight_on(person: Person, issuer: RunningIssuer) -> None:
    """The client's own ID token ends the sign-in and its families, and leads back with the state."""
    tokens = person.tokens()
    answer = person.http.get(
        f"{issuer.url}/end-session",
        params={"id_token_hint": tokens["id_token"], "post_logout_redirect_uri": AFTER, "state": "s t"},
    )
    assert (303, f"{AFTER}?state=s+t") == (answer.status_code, answer.headers["location"])
    assert "login_required" == query_of(person.authorize(prompt="none").headers["location"])["error"]
    assert "invalid_grant" == person.refresh(tokens["refresh_token"]).json()["error"]


@pytest.mark.requirement("B-37")
@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("HEAD", {}, 405),
        ("GET", {"sec-purpose": "prefetch"}, 503),
        ("GET", {"purpose": "prefetch"}, 503),
        ("GET", {"sec-fetch-mode": "no-cors"}, 403),
    ],
)
def test_what_is_no_navigation_does_nothing(
    person: Person, issuer: RunningIssuer, method: str, headers: dict[str, str], status: int
) -> None:
    """Neither signs it out, proof or no proof, nor makes it a code."""
    query = {"id_token_hint": person.tokens()["id_token"]}
    url = f"{issuer.url}/end-session"
    assert status == person.http.request(method, url, params=query, headers=headers).status_code
    url = f"{issuer.url}/authorize"
    answer = person.http.request(method, url, params=person.request(prompt="none"), headers=headers)
    assert status == answer.status_code
    assert "location" not in answer.headers
    assert "code" in query_of(person.authorize(prompt="none").headers["location"])


@pytest.mark.parametrize("scope", ["openid", "openid offline_access"])
def test_sign_out_ends_codes_that_are_on_their_way(person: Person, issuer: RunningIssuer, scope: str) -> None:
    """A code from before the sign-out gives no tokens after it."""
    hint = person.tokens()["id_token"]
    code = person.code(scope=scope)
    person.http.get(f"{issuer.url}/end-session", params={"id_token_hint": hint})
    assert "invalid_grant" == person.exchange(code).json()["error"]


@pytest.mark.requirement("L-03")
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("name", ["sub", "sid"])
def test_sign_out_with_a_logout_hint_alone_is_asked_about(
    person: Person, issuer: RunningIssuer, name: str, method: str
) -> None:
    """Every backend knows the `sub` and every client the `sid`: only an ID token is a proof."""
    hint = payload_of(person.tokens()["id_token"])[name]
    sent = {"client_id": CLIENT_ID, "logout_hint": hint, "post_logout_redirect_uri": AFTER}
    url = f"{issuer.url}/end-session"
    page = person.http.get(url, params=sent) if method == "GET" else person.http.post(url, data=sent)
    assert 200 == page.status_code
    assert "code" in query_of(person.authorize(prompt="none").headers["location"])
    action, csrf = read_form(page)
    done = person.http.post(action, data={"csrf": csrf})
    assert (303, AFTER) == (done.status_code, done.headers["location"])
    assert "issuer-session" not in person.http.cookies


@pytest.mark.requirement("L-03")
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"client_id": CLIENT_ID},
        {"client_id": CLIENT_ID, "logout_hint": "bob"},
        {"client_id": CLIENT_ID, "logout_hint": "alice@example.com"},
    ],
)
def test_sign_out_without_proof_is_asked_about(
    person: Person, issuer: RunningIssuer, parameters: dict[str, str]
) -> None:
    """A foreign page gets a question on the screen and nothing else; the answer to it signs out."""
    person.tokens()
    page = person.http.get(f"{issuer.url}/end-session", params=parameters)
    assert 200 == page.status_code
    assert 303 == person.authorize(prompt="none").status_code
    action, csrf = read_form(page)
    assert 200 == person.http.post(action, data={"csrf": "wrong"}).status_code
    assert "code" in query_of(person.authorize(prompt="none").headers["location"])
    done = person.http.post(action, data={"csrf": csrf})
    assert "Signed out" in done.text
    assert "login_required" == query_of(person.authorize(prompt="none").headers["location"])["error"]


def test_the_question_leads_on_to_the_client(person: Person, issuer: RunningIssuer) -> None:
    """Where the page had to ask, the registered address is still where it leads."""
    person.tokens()
    with Person(issuer) as other:
        foreign = other.tokens(BOB)["id_token"]
    page = person.http.get(
        f"{issuer.url}/end-session",
        params={"id_token_hint": foreign, "client_id": CLIENT_ID, "post_logout_redirect_uri": AFTER},
    )
    action, csrf = read_form(page)
    assert AFTER == person.http.post(action, data={"csrf": csrf}).headers["location"]


def test_a_foreign_post_does_not_clear_the_cookie(person: Person, issuer: RunningIssuer) -> None:
    """A cross-site form (sent without the Lax cookie) is not answered by a cookie that signs out."""
    with httpx.Client() as foreign:
        answer = foreign.post(f"{issuer.url}/end-session", data={"client_id": CLIENT_ID})
    assert "set-cookie" not in answer.headers
    del person


@pytest.mark.parametrize("target", ["https://evil.example/", AFTER + "x", "//evil.example", ""])
def test_sign_out_never_leads_elsewhere(person: Person, issuer: RunningIssuer, target: str) -> None:
    """An address that is not registered is refused on a page."""
    parameters = {"client_id": CLIENT_ID, "post_logout_redirect_uri": target}
    answer = person.http.get(f"{issuer.url}/end-session", params=parameters)
    assert 400 == answer.status_code
    assert "location" not in answer.headers


def test_pages_say_when_redis_is_down(person: Person, redis_server: RedisServer) -> None:
    """Signing in without Redis shows a page with 503, and works again afterwards."""
    page = person.authorize()
    redis_server.stop()
    answer = sign_in_at(page, person.http)
    assert 503 == answer.status_code
    assert "text/html" in answer.headers["content-type"]
    redis_server.start()
    assert 303 == sign_in_at(page, person.http).status_code


def test_no_sentence_on_a_page_is_left_unescaped(person: Person) -> None:
    """Markup in an address comes back as text, in the form that failed too."""
    answer = sign_in_at(person.authorize(), person.http, ("<b>x</b>@example.com", "y"))
    assert "<b>x" not in answer.text
    assert re.search(r"&lt;b&gt;x", answer.text)
