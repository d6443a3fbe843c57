"""Checkpoints: read whatever file people have, write ours, convert between the naming schemes. Never run its code."""

from convnext.weights.model import Loaded, load, read_model, save_model
from convnext.weights.own import WEIGHTS_SAID

__all__ = ["WEIGHTS_SAID", "Loaded", "load", "read_model", "save_model"]
