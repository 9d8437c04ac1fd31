"""A browser's device in Device Bound Session Credentials: its key, and the requests that Chromium makes."""

import json
import re
from collections.abc import Mapping
from typing import Any

import httpx
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, RSAKey

from tests.support.processes.world import Browser

REGISTER, REFRESH = "/bff/dbsc/register", "/bff/dbsc/refresh"
Key = ECKey | RSAKey | OctKey


def challenge_in(answer: httpx.Response) -> str:
    """The challenge that an answer asks to be signed next."""
    told = answer.headers["secure-session-challenge"]
    found = re.match(r'"([^"]+)";id="[0-9a-f]{64}"', told)
    assert found is not None, told
    return found[1]


def invitation_in(answer: httpx.Response) -> str:
    """The challenge of an invitation to register."""
    told = answer.headers["secure-session-registration"]
    found = re.fullmatch(r'\(ES256 RS256\);path="/bff/dbsc/register";challenge="([^"]+)"', told)
    assert found is not None, told
    return found[1]


def new_key() -> ECKey:
    """A key as Chromium makes one."""
    return ECKey.generate_key("P-256")


def signed(
    key: Key, challenge: Any, *, alg: str = "ES256", header: Mapping[str, Any] | None = None, **claims: Any
) -> str:
    """The JWT that answers a challenge; `header` and `claims` are added, and replace what is there."""
    head = {"alg": alg, "typ": "dbsc+jwt", **(header or {})}
    registry = jws.JWSRegistry(algorithms=[alg], strict_check_header=False)
    payload = json.dumps({"jti": challenge, **claims})
    return jws.serialize_compact(head, payload, key, registry=registry)


def public(key: Key) -> dict[str, Any]:
    """The public key as a registration's header holds it."""
    return dict(key.as_dict(private=False, kid=None)) if isinstance(key, OctKey) else _bare(key)


def _bare(key: ECKey | RSAKey) -> dict[str, Any]:
    return {name: value for name, value in key.as_dict(private=False).items() if name != "kid"}


class Device:
    """The device of one browser.

    Attributes:
        session: the session's name, once it is bound.
        next: the challenge that came with the last good answer.
    """

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.key = new_key()
        self.session = ""
        self.next = ""

    @property
    def invitation(self) -> str:
        """The challenge of the last sign-in."""
        invited = [each for each in self.browser.answers if "secure-session-registration" in each.headers]
        return invitation_in(invited[-1])

    async def post(self, path: str, proof: str | None, **headers: str) -> httpx.Response:
        """A request as the browser makes it."""
        sent = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "no-cors", **headers}
        if proof is not None:
            sent["Secure-Session-Response"] = proof
        return await self.browser.client.post(path, headers=sent)

    async def register(self) -> httpx.Response:
        """Registers the key, as the last sign-in has asked for."""
        proof = signed(self.key, self.invitation, header={"jwk": public(self.key)})
        return self._keep(await self.post(REGISTER, proof))

    async def refresh(self, challenge: str | None = None) -> httpx.Response:
        """Renews the proof, by a challenge, by the one at hand or by asking for one."""
        challenge, self.next = challenge or self.next, ""
        if not challenge:
            asked = await self.ask()
            if asked.status_code != 403:
                return asked
            challenge = challenge_in(asked)
        answer = await self.prove(signed(self.key, challenge))
        return self._keep(answer)

    async def ask(self) -> httpx.Response:
        """Asks for a challenge."""
        return await self.post(REFRESH, None, **{"Sec-Secure-Session-Id": self.session})

    async def prove(self, proof: str) -> httpx.Response:
        """Sends a proof to be renewed by."""
        return await self.post(REFRESH, proof, **{"Sec-Secure-Session-Id": self.session})

    def _keep(self, answer: httpx.Response) -> httpx.Response:
        if answer.status_code == 200 and "continue" not in answer.json():
            self.session = answer.json()["session_identifier"]
            self.next = challenge_in(answer)
        return answer


async def bound(browser: Browser) -> Device:
    """Binds the session that a browser has just begun."""
    device = Device(browser)
    answer = await device.register()
    assert answer.status_code == 200, answer.text
    return device
