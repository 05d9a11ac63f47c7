"""Ablations as objects: runs compared, swept, reported and repeated."""
