"""What the hourly feed means: ridership as the MTA publishes it, the share of OMNY, and how estimates agree with it.

Pure functions on Polars frames, and the contract of their tables. Asking the portal is the business of `soda`; Dagster,
storage and settings are not known here.
"""
