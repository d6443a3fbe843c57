"""Drawings of networks: the block and the stages of a NetSpec, and what differs between two neighbours."""
