"""The terminal faces: an inline one on prompt_toolkit and a plain one, over one core."""
