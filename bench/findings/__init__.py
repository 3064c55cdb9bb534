"""The publication's conclusions, and what evidence says of them."""
