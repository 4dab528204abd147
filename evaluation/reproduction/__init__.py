"""The paper's tables and figures again: its numbers beside ours, each on a page of its own."""
