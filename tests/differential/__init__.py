"""Ours and nginx, side by side: the same bytes in, and what comes out at the other end."""
