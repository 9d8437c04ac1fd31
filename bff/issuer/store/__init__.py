"""The issuer's Redis: codes, refresh families, sign-in sessions, revoked_tokens."""
