"""Stream mode: what the records of each probe hold, and reading them."""
