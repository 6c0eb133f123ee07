"""Where data come from: one package for each kind of source, and what all of them share."""
