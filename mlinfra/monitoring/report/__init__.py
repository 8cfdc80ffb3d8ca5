"""What a stretch of rows looks like beside what a model learnt from, for people and for programs."""
