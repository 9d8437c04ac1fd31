"""The refresh protocol as a small model, and a checker that visits every state it can get into."""
