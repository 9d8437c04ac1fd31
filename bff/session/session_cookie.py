"""The session cookie: its name and attributes (RFC 6265bis, RFC 10017 6.1.3.2).

Rule 1: only a new sign-in and a logout write this cookie; no error answer ever does.
"""

from dataclasses import dataclass

from bff.policy.cookie_names import own_cookie
from bff.settings.model import ServerSettings, SessionSettings


@dataclass(frozen=True, slots=True)
class SessionCookie:
    """The form of the session cookie. `attributes` are those of every write, clearing included."""

    name: str
    attributes: str
    max_age: int | None

    @classmethod
    def configured(cls, server: ServerSettings, session: SessionSettings) -> "SessionCookie":
        """The cookie for this origin; plain only where the public URL is."""
        secure = server.public_url.startswith("https://")
        same_site = session.same_site.capitalize()
        return cls(
            name=own_cookie(server.public_url, server.base_path),
            attributes=f"; Path=/; HttpOnly; SameSite={same_site}" + ("; Secure" if secure else ""),
            max_age=int(session.max_lifetime) if session.persistent_cookie else None,
        )

    def set(self, handle: str) -> str:
        """The `Set-Cookie` value that hands the browser its handle."""
        lifetime = "" if self.max_age is None else f"; Max-Age={self.max_age}"
        return f"{self.name}={handle}{self.attributes}{lifetime}"

    def clear(self) -> str:
        """The `Set-Cookie` value that takes it away again."""
        return f"{self.name}={self.attributes}; Max-Age=0"
