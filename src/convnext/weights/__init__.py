"""Checkpoints: read whatever file people have, write ours, convert between the naming schemes. Never run its code."""

from convnext.weights.model import WEIGHTS_SAID, Loaded, load, read_model, save_model

__all__ = ["WEIGHTS_SAID", "Loaded", "load", "read_model", "save_model"]
