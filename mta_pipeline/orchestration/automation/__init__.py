"""How assets follow their inputs: automation conditions, sensors and schedules."""
