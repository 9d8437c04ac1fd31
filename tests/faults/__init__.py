"""Real faults at named moments of a rotation, and what became of the session."""
