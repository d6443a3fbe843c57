"""What detectors and segmenters say, drawn over pictures, and a page that shows the best and the worst of it."""
