"""Sweeps on disk: many runs side by side, their directory, and what they found."""
