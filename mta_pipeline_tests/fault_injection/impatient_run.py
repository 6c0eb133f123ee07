"""The command `mta-pipeline` with timeouts of 2 seconds instead of 60, because scenarios wait for them."""

from mta_pipeline.cli import main
from mta_pipeline.lake import storage
from mta_pipeline.sources import http

if __name__ == "__main__":
    storage._LOCK_TIMEOUT = http.ANSWER_TIMEOUT = http.READ_TIMEOUT = 2.0  # type: ignore[misc]
    http.SLOWEST = 10_000_000  # type: ignore[misc]
    main()
