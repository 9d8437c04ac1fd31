"""The session: its model, its Redis form, its cookie."""
