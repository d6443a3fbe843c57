"""Pictures: where they come from (sources), how they are read, varied (augment) and batched (loader)."""
