"""The made-up feed: weekly files whose true ridership is known. Everything it makes is called a sample."""
