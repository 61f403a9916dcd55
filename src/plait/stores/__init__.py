"""Where runs are kept: a journal of facts for each, values beside it. Stores append and return; they decide nothing."""
