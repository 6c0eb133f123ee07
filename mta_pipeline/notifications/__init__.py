"""Notifications: incidents, the text of messages, and their delivery. Nothing here depends on Dagster.

`mta_pipeline.orchestration.automation.failure_scan` detects failures in Dagster's records.
"""
