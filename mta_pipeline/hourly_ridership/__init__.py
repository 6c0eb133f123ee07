"""The meaning of hourly ridership: published ridership, the OMNY share, and how well estimates agree with it.

The functions are pure: Polars frames in, Polars frames out. They do not depend on Dagster, storage or settings. The
package also holds the contract of their tables. `mta_pipeline.sources.socrata` sends the requests to the portal.
"""
