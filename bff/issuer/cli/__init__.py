"""`bff issuer` and its commands."""
