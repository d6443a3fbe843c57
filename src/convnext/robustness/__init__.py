"""The sets that the paper tests robustness on (Table 8): how they lie on a disk and how they are scored."""
