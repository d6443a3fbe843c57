"""Figure 1 of the paper, redrawn from records: accuracy against multiply-adds, a bubble a network."""
