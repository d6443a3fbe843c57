"""Detectors: Faster, Mask and Cascade Mask R-CNN on any network, as torchvision or as the paper has them."""
