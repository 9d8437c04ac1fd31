"""The demo's page in a real Chromium, against the whole demo."""
