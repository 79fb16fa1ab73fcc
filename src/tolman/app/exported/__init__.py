"""Files that `tolman export` copies beside the questions. They need nothing of Tolman."""
