"""What a served model is asked and how good its answers are: references, counters, checks and reports."""
