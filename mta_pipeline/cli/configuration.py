"""Writes docs/configuration.md from the settings: `python -m mta_pipeline.cli.configuration`."""

from collections.abc import Iterator

from pydantic import AliasChoices
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from mta_pipeline.settings import Settings, TelemetrySettings

_HEAD = """\
<!-- Written by `make configuration` from mta_pipeline/settings.py; change the text there. -->
# Configuration
All settings are environment variables. An empty variable counts as not set. An invalid value stops the program with a \
message that names the variable.

| variable | meaning | default |
| --- | --- | --- |
"""
_TAIL = """
`make run` also takes `WEEKS=FIRST...LAST`, the Saturdays on which the weeks start. Without it, the newest 8 available \
weeks are processed. `make` sets `DAGSTER_HOME` to `data/sample/dagster`, or to `data/real/dagster` if `MTA_FEED` \
is set.

Extras install what some settings need: `.venv/bin/uv pip install -c requirements.lock -e '.[gcp]'` for `gs://` and \
BigQuery, `'.[notify]'` for `MTA_NOTIFY`, `'.[telemetry]'` for traces and metrics; `make .venv/.spark` installs Spark.

A deployment with Docker has more variables, for ports, image and database: see [Docker](deploy-docker.md#settings). \
BigQuery is described in [Google Cloud](deploy-google-cloud.md#settings), notifications in \
[operations](operations.md#notifications).
"""


def configuration() -> str:
    """The page: a row for each setting, in the order of the code."""
    fields = (*Settings.model_fields.values(), *TelemetrySettings.model_fields.values())
    return _HEAD + "".join(_rows(fields)) + _TAIL


def _rows(fields: tuple[FieldInfo, ...]) -> Iterator[str]:
    for field in fields:
        alias = field.validation_alias or field.alias
        names = [str(choice) for choice in alias.choices] if isinstance(alias, AliasChoices) else [str(alias)]
        default = "" if field.default in (None, PydanticUndefined) else f"`{field.default}`"
        meaning = " ".join((field.description or "").split())
        yield f"| {', '.join(f'`{name}`' for name in names)} | {meaning} | {default or 'not set'} |\n"


if __name__ == "__main__":
    print(configuration(), end="")
