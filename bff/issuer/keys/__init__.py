"""The issuer's signing keys: their life, and where they are kept."""
