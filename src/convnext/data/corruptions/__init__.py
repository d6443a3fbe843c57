"""The fifteen corruptions of ImageNet-C, computed from clean pictures."""
