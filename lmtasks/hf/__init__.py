"""Checkpoints of Hugging Face's form, in and out, by the families' tables."""
