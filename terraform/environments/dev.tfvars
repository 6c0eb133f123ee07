# A deployment for tests: without deletion protection, and without a copy of the lake in BigQuery.
project     = "my-project"
environment = "dev"
image_tag   = "v0.1.0"
feed        = "https://example.org/turnstile/"

machine_type        = "e2-medium"
data_disk_gb        = 20
deletion_protection = false
warehouse_storage   = "external"
max_gib_per_query   = 20
monthly_budget_usd  = 50

operators    = ["user:somebody@example.org"]
alert_emails = ["alerts@example.org"]
