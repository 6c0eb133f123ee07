# All resources of a deployment of mta_pipeline in one Google Cloud project. docs/deploy-google-cloud.md describes each
# part and its permissions.

locals {
  name = "mta-${var.environment}"
  # Names of datasets must not contain hyphens.
  dataset_prefix = "mta_${var.environment}_"
}

resource "google_project_service" "needed" {
  for_each = toset([
    "artifactregistry.googleapis.com",
    "bigquery.googleapis.com",
    "billingbudgets.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "compute.googleapis.com",
    "iam.googleapis.com",
    "iamcredentials.googleapis.com",
    "iap.googleapis.com",
    "logging.googleapis.com",
    "monitoring.googleapis.com",
    "oslogin.googleapis.com",
    "secretmanager.googleapis.com",
    "storage.googleapis.com",
    "sts.googleapis.com",
  ])

  service = each.key
  # Other applications in the project may use these services too.
  disable_on_destroy = false
}

module "identity" {
  source = "./modules/identity"

  project           = var.project
  name              = local.name
  operators         = var.operators
  analysts          = var.analysts
  github_repository = var.github_repository

  depends_on = [google_project_service.needed]
}

module "lake" {
  source = "./modules/lake"

  project     = var.project
  name        = local.name
  location    = var.region
  runner      = module.identity.runner_member
  publisher   = module.identity.publisher_member
  analysts    = var.analysts
  feed_bucket = var.feed_bucket

  depends_on = [google_project_service.needed]
}

module "warehouse" {
  source = "./modules/warehouse"

  prefix              = local.dataset_prefix
  location            = var.region
  runner              = module.identity.runner_member
  analysts            = var.analysts
  deletion_protection = var.deletion_protection

  depends_on = [google_project_service.needed]
}

module "registry" {
  source = "./modules/registry"

  name      = local.name
  location  = var.region
  runner    = module.identity.runner_member
  publisher = module.identity.publisher_member

  depends_on = [google_project_service.needed]
}

module "secrets" {
  source = "./modules/secrets"

  name     = local.name
  location = var.region
  runner   = module.identity.runner_member

  depends_on = [google_project_service.needed]
}

module "network" {
  source = "./modules/network"

  name   = local.name
  region = var.region
  runner = module.identity.runner_email

  depends_on = [google_project_service.needed]
}

module "runner" {
  source = "./modules/runner"

  project             = var.project
  name                = local.name
  region              = var.region
  zone                = var.zone
  machine_type        = var.machine_type
  data_disk_gb        = var.data_disk_gb
  deletion_protection = var.deletion_protection
  subnetwork          = module.network.subnetwork
  service_account     = module.identity.runner_email
  operators           = var.operators
  image               = "${module.registry.images}/mta-pipeline${startswith(var.image_tag, "sha256:") ? "@" : ":"}${var.image_tag}"
  docker_hub          = module.registry.docker_hub
  deployment          = module.lake.deployment
  secrets             = module.secrets.by_variable

  settings = merge(
    {
      MTA_FEED             = var.feed
      LAKE_ROOT            = module.lake.root
      WAREHOUSE            = "bigquery://${var.project}/${local.dataset_prefix}"
      BIGQUERY_LOCATION    = var.region
      BIGQUERY_STORAGE     = var.warehouse_storage
      BIGQUERY_MAX_GIB     = tostring(var.max_gib_per_query)
      GOOGLE_CLOUD_PROJECT = var.project
    },
    var.settings,
  )

  # The first boot needs network access and permissions.
  depends_on = [module.network, module.lake, module.registry, module.secrets]
}

module "monitoring" {
  source = "./modules/monitoring"

  project            = var.project
  name               = local.name
  alert_emails       = var.alert_emails
  billing_account    = var.billing_account
  monthly_budget_usd = var.monthly_budget_usd

  depends_on = [google_project_service.needed]
}
