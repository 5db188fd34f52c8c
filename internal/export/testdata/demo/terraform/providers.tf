# Plan 1a5386a4cdf5, written by migrate export terraform.
# Leave this file out where the module has its providers already.

terraform {
  required_version = ">= 1.5.0"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0.0"
    }
  }
}

provider "aws" {
  alias               = "a140207249019_eu_west_1"
  region              = "eu-west-1"
  allowed_account_ids = ["140207249019"]
}

provider "aws" {
  alias               = "a140207249019_us_east_1"
  region              = "us-east-1"
  allowed_account_ids = ["140207249019"]
}
