"""What a pass over a batch does: which layers are computed together, and which memory they share."""
