"""The sample feed: made-up weekly turnstile files whose true ridership is known.

Everything here makes input and its truth. Reading, judging or storing it as the pipeline does not belong here,
nor does Dagster.
"""

from mta_pipeline.sample.faults import Faults
from mta_pipeline.sample.generator import SampleFeed
from mta_pipeline.sample.publish import index_page
from mta_pipeline.sample.truth import SampleWeek

__all__ = ["Faults", "SampleFeed", "SampleWeek", "index_page"]
