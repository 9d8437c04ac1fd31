"""Accounts: passwords, sign-in, the limits on guessing."""
