variable "project" {
  description = "The id of the Google Cloud project for all resources. It must exist, with billing enabled."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "A project's id is 6 to 30 lower-case letters, digits and hyphens, and starts with a letter."
  }
}

variable "environment" {
  description = "Name of this deployment. It is part of all resource names, so that one project can hold several deployments."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{1,11}$", var.environment))
    error_message = "An environment is 2 to 12 lower-case letters and digits, and starts with a letter."
  }
}

variable "region" {
  description = "The region of buckets, datasets, images and machine. BigQuery loads only from a bucket in its own region."
  type        = string
  default     = "us-central1"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "A region is like us-central1."
  }
}

variable "zone" {
  description = "The zone of the machine and its disk. It must be in the region."
  type        = string
  default     = "us-central1-a"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+-[a-z]$", var.zone)) && startswith(var.zone, var.region)
    error_message = "A zone is like us-central1-a and must be in the region."
  }
}

variable "image_tag" {
  description = "The tag or digest of the pipeline's image in the registry, for example v1.2.3 or sha256:..."
  type        = string

  validation {
    condition     = can(regex("^(sha256:[0-9a-f]{64}|[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})$", var.image_tag)) && var.image_tag != "latest"
    error_message = "Use a tag other than latest, or a digest. A restart must not change what runs."
  }
}

variable "feed" {
  description = "Value of MTA_FEED: location of the weekly files, an http(s) URL or gs://bucket/prefix."
  type        = string

  validation {
    condition     = can(regex("^(https?|gs)://[^@]+$", var.feed))
    error_message = "A feed is an http(s):// or gs:// URL without user or password."
  }
}

variable "feed_bucket" {
  description = "The bucket of a gs:// feed. The pipeline gets read access to it. Null for other feeds."
  type        = string
  default     = null
}

variable "settings" {
  description = "Additional settings of the pipeline, by environment variable. Must not contain secrets."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name, value in var.settings : can(regex("^[A-Z][A-Z0-9_]*$", name)) && !strcontains(value, "\n")])
    error_message = "A name consists of upper-case letters, digits and underscores. A value is one line."
  }
}

variable "warehouse_storage" {
  description = "Value of BIGQUERY_STORAGE: native loads the lake into BigQuery, external reads the bucket in each query."
  type        = string
  default     = "native"

  validation {
    condition     = contains(["native", "external"], var.warehouse_storage)
    error_message = "Use native or external."
  }
}

variable "max_gib_per_query" {
  description = "Value of BIGQUERY_MAX_GIB: the maximum GiB that one query of the pipeline may scan."
  type        = number
  default     = 200

  validation {
    condition     = var.max_gib_per_query >= 1
    error_message = "The value must be at least 1."
  }
}

variable "machine_type" {
  description = "The machine type. A run over all weeks needs 2 GB of memory, Dagster's own processes another 2 GB."
  type        = string
  default     = "e2-standard-2"

  validation {
    condition     = can(regex("^[a-z][a-z0-9]*-[a-z0-9-]+$", var.machine_type))
    error_message = "A machine type is like e2-standard-2."
  }
}

variable "data_disk_gb" {
  description = "Size in GB of the disk for images, PostgreSQL and run logs."
  type        = number
  default     = 30

  validation {
    condition     = var.data_disk_gb >= 20 && var.data_disk_gb <= 1000
    error_message = "The size must be 20 to 1000 GB."
  }
}

variable "deletion_protection" {
  description = "Whether the machine and the datasets are protected from deletion."
  type        = bool
  default     = true
}

variable "operators" {
  description = "Members who may log in to the machine and open the UI through it: user:... or group:..."
  type        = set(string)

  validation {
    condition     = alltrue([for member in var.operators : can(regex("^(user|group):[^@ ]+@[^@ ]+$", member))])
    error_message = "Members are user:somebody@example.org or group:some@example.org."
  }
}

variable "analysts" {
  description = "Members who may read the lake and the warehouse, and run queries: user:..., group:... or serviceAccount:..."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for member in var.analysts : can(regex("^(user|group|serviceAccount):[^@ ]+@[^@ ]+$", member))])
    error_message = "Members are user:..., group:... or serviceAccount:..., not allUsers."
  }
}

variable "github_repository" {
  description = "The repository (owner/name) whose environment release may publish images and deployment archives, without a key; null for none."
  type        = string
  default     = null

  validation {
    condition     = var.github_repository == null || can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9_.-]+$", var.github_repository))
    error_message = "A repository is owner/name."
  }
}

variable "alert_emails" {
  description = "Email addresses that receive alerts."
  type        = set(string)

  validation {
    condition     = length(var.alert_emails) > 0 && alltrue([for email in var.alert_emails : can(regex("^[^@ ]+@[^@ ]+$", email))])
    error_message = "Give at least one valid address."
  }
}

variable "billing_account" {
  description = "The billing account of the project, for the budget alert; null for no budget."
  type        = string
  default     = null

  validation {
    condition     = var.billing_account == null || can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.billing_account))
    error_message = "A billing account is like 012345-6789AB-CDEF01."
  }
}

variable "monthly_budget_usd" {
  description = "Monthly budget in US dollars. Exceeding it sends an alert and switches nothing off."
  type        = number
  default     = 100

  validation {
    condition     = var.monthly_budget_usd >= 1
    error_message = "The value must be at least 1."
  }
}
