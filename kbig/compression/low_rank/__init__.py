"""Low rank: matrices of a model become products of two thin ones."""
