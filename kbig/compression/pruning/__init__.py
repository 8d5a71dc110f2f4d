"""Pruning: weights of a model that `fit` trains become zero, and stay so."""
