"""The soak scenarios: `python3 -m tests.tools.soak --help`. The suite runs seeded samples of it."""
