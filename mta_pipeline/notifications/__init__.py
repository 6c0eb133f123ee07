"""Telling people what is wrong: faults and their folding, the words, and the way to the receivers. No Dagster here.

Finding out what is wrong, in Dagster's records, is mta_pipeline.orchestration.automation.failure_scan' part.
"""
