"""Measures of what a model predicts; none of them knows the model."""
