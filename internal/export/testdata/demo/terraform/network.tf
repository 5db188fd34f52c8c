# Plan 1a5386a4cdf5, written by migrate export terraform.

# Let HTTPS to Systems Manager through sg-0679a1f5bd8c9b4e2 (endpoint-pilot)
# answers: endpoint-group-closed
# + tcp 443 from 10.19.96.0/19 (migrate: HTTPS to Systems Manager)
# touches: security group on 0 hosts and endpoints vpce-00eb30fd9b9f2a95f, vpce-01491272c4ad5df02, vpce-033e8d5fac15be892, vpce-04994321666808cd9, vpce-091547a168fd633e0 and 2 more

resource "aws_vpc_security_group_ingress_rule" "sg_0679a1f5bd8c9b4e2_tcp_443_443_10_19_96_0_19" {
  provider          = aws.a140207249019_eu_west_1
  security_group_id = "sg-0679a1f5bd8c9b4e2"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "10.19.96.0/19"
  description       = "migrate: HTTPS to Systems Manager"
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

# Create interface endpoints in VPC vpc-066a7fbd72467f8c4
# answers: endpoint-missing
# + com.amazonaws.eu-west-1.ssmmessages with private DNS in subnet-0c43450884e90bab8
# + security group migrate-endpoints-vpc-066a7fbd72467f8c4: HTTPS from 10.17.0.0/16
# touches: the names resolve to the endpoints for the whole VPC, with 1 host

resource "aws_security_group" "migrate_endpoints_vpc_066a7fbd72467f8c4_140207249019" {
  provider    = aws.a140207249019_eu_west_1
  name        = "migrate-endpoints-vpc-066a7fbd72467f8c4"
  description = "HTTPS to the endpoints of Systems Manager"
  vpc_id      = "vpc-066a7fbd72467f8c4"
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

resource "aws_vpc_security_group_ingress_rule" "migrate_endpoints_vpc_066a7fbd72467f8c4_tcp_443_443_10_17_0_0_16" {
  provider          = aws.a140207249019_eu_west_1
  security_group_id = aws_security_group.migrate_endpoints_vpc_066a7fbd72467f8c4_140207249019.id
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "10.17.0.0/16"
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

resource "aws_vpc_security_group_egress_rule" "migrate_endpoints_vpc_066a7fbd72467f8c4_all__0_0_0_0_0" {
  provider          = aws.a140207249019_eu_west_1
  security_group_id = aws_security_group.migrate_endpoints_vpc_066a7fbd72467f8c4_140207249019.id
  ip_protocol       = "-1"
  cidr_ipv4         = "0.0.0.0/0"
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
}

resource "aws_vpc_endpoint" "vpc_066a7fbd72467f8c4_ssmmessages_140207249019" {
  provider            = aws.a140207249019_eu_west_1
  vpc_id              = "vpc-066a7fbd72467f8c4"
  service_name        = "com.amazonaws.eu-west-1.ssmmessages"
  vpc_endpoint_type   = "Interface"
  subnet_ids          = ["subnet-0c43450884e90bab8"]
  security_group_ids  = [aws_security_group.migrate_endpoints_vpc_066a7fbd72467f8c4_140207249019.id]
  private_dns_enabled = true
  tags = {
    "ssm-migrate:step" = "export-1a5386a4cdf5"
  }
  depends_on = [aws_vpc_security_group_ingress_rule.migrate_endpoints_vpc_066a7fbd72467f8c4_tcp_443_443_10_17_0_0_16]
}
