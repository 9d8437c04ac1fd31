"""Limits: how often a client may do something, and how much it may have under way at once."""
