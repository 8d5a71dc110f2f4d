"""Recipes: from data to verified artefacts, one module and command each."""
