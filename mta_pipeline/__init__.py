"""New York subway ridership from turnstile data: raw files, a lake of validated tables, marts and a report.

This module imports nothing, so that users of one part do not pay for the imports of the others.
"""
