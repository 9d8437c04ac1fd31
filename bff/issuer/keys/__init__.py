"""The issuer's signing keys: their life and their store."""
