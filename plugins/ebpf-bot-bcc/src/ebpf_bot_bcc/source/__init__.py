"""Users' own BCC programs: their functions are probes, and what they write to buffers are signals."""
