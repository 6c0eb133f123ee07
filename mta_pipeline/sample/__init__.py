"""The sample feed: synthetic weekly turnstile files with known true ridership.

The package makes input files and their truth. It does not process them, and does not depend on Dagster.
"""

from mta_pipeline.sample.faults import Faults
from mta_pipeline.sample.generator import SampleFeed
from mta_pipeline.sample.publish import index_page
from mta_pipeline.sample.truth import SampleWeek

__all__ = ["Faults", "SampleFeed", "SampleWeek", "index_page"]
