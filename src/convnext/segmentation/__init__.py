"""Semantic segmentation: UperNet on any network, its checkpoints, inference by windows and cost; trains nothing."""
