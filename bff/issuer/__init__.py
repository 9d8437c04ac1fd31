"""An OpenID Provider small enough to embed."""
