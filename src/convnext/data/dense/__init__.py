"""Pictures with objects (boxes, masks) or with a class for each pixel: sources, variation and batches."""
