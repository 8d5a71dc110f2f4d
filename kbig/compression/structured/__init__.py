"""Structured pruning: what is removed, where, and what is left."""
