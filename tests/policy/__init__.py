"""The pure rows."""
