"""The OpenID Connect client."""
