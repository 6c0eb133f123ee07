"""Everything that Dagster sees: assets, checks, automation, resources and IO managers."""
