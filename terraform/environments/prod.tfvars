# All weeks, with the lake loaded into BigQuery.
project     = "my-project"
environment = "prod"
image_tag   = "v0.1.0"
feed        = "https://example.org/turnstile/"

operators    = ["group:operators@example.org"]
analysts     = ["group:analysts@example.org"]
alert_emails = ["alerts@example.org"]
