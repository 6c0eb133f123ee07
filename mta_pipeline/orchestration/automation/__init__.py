"""Sensors and schedules that request runs, and the sensor that notifies. Automation conditions: `conditions`."""
