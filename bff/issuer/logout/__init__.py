"""The end of sign-ins, and how clients are told of it."""
