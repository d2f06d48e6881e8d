"""What hits cost the threads that make them: told by the place, measured on this machine."""
