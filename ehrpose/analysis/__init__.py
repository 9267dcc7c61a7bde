"""What only measures, or draws for the docs; only commands and tools import it."""
