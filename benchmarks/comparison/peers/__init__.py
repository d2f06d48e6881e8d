"""The tools that are compared: one file a tool. A new peer is one file, and a line in `roster.py`."""
