# Plan 1a5386a4cdf5, written by migrate export terraform.

# Close port 22 in sg-048f36e1efba3ce1b (apps-app)
# - tcp 22 from sg-0358741a4ec8d696e (apps-bastion) (bastion, CI)
# - tcp 22 from sg-090bee87050d134f0 (apps-ci) (bastion, CI)
# - tcp 22 from 203.0.113.0/24 (VPN)
# + tcp 22 from migrate-recovery-vpc-0992e639043cee8bc stays
# touches: security group on 1 host
# To be deleted where sg-048f36e1efba3ce1b (apps-app) is defined: the rules with - above.
# (migrate export terraform --rule-ids writes them with import blocks.)

# Close port 22 in sg-022dc97a0c03fc67f (prod-app)
# - tcp 22 from sg-02e983de169292f86 (prod-bastion) (bastion, CI)
# - tcp 22 from sg-02131f9039a47e32a (prod-ci) (bastion, CI)
# - tcp 22 from 203.0.113.0/24 (VPN)
# + tcp 22 from migrate-recovery-vpc-0e078981cfd3db961 stays
# touches: security group on 1 host
# To be deleted where sg-022dc97a0c03fc67f (prod-app) is defined: the rules with - above.
# (migrate export terraform --rule-ids writes them with import blocks.)

# Close port 22 in sg-03153195c7eaed467 (apps-db)
# - tcp 22 from 10.21.0.0/16 (whole VPC)
# - tcp 22 from 203.0.113.0/24 (VPN)
# + tcp 22 from migrate-recovery-vpc-068b0a05a58664a70 stays
# touches: security group on 1 host
# To be deleted where sg-03153195c7eaed467 (apps-db) is defined: the rules with - above.
# (migrate export terraform --rule-ids writes them with import blocks.)

# Close port 22 in sg-09174c779831eb083 (tools-app)
# - tcp 22 from sg-0df32de8a5526fb84 (tools-bastion) (bastion, CI)
# - tcp 22 from sg-0ad7545005ffe9367 (tools-ci) (bastion, CI)
# - tcp 22 from 203.0.113.0/24 (VPN)
# + tcp 22 from migrate-recovery-vpc-05dc93c73b18b2204 stays
# touches: security group on 1 host
# To be deleted where sg-09174c779831eb083 (tools-app) is defined: the rules with - above.
# (migrate export terraform --rule-ids writes them with import blocks.)

# Close port 22 in sg-0bacbaafdc4636d20 (front-office-ssh)
# - tcp 22 from 203.0.113.0/24 (office)
# - tcp 22 from 198.51.100.0/24 (homes)
# + tcp 22 from migrate-recovery-vpc-091e9123b8cbe868c stays
# touches: security group on 1 host
# To be deleted where sg-0bacbaafdc4636d20 (front-office-ssh) is defined: the rules with - above.
# (migrate export terraform --rule-ids writes them with import blocks.)

# Close port 22 in sg-0cf13e324059c0813 (tools-web)
# - tcp 22 from sg-014e5736e3de61241 (tools-bastion) (bastion, CI)
# - tcp 22 from sg-0c32274433b691147 (tools-ci) (bastion, CI)
# - tcp 22 from 203.0.113.0/24 (VPN)
# + tcp 22 from migrate-recovery-vpc-014a0b0c3b8c95ac1 stays
# touches: security group on 1 host
# To be deleted where sg-0cf13e324059c0813 (tools-web) is defined: the rules with - above.
# (migrate export terraform --rule-ids writes them with import blocks.)

# Close port 22 in sg-0e9ed4b8835ab9c7f (apps-db)
# - tcp 22 from 10.17.0.0/16 (whole VPC)
# - tcp 22 from 203.0.113.0/24 (VPN)
# + tcp 22 from migrate-recovery-vpc-066a7fbd72467f8c4 stays
# touches: security group on 1 host
# To be deleted where sg-0e9ed4b8835ab9c7f (apps-db) is defined: the rules with - above.
# (migrate export terraform --rule-ids writes them with import blocks.)

# Close port 22 in sg-0eb0ee91c7b662eb5 (tools-web)
# - tcp 22 from sg-05ca944ca5d79a39d (tools-bastion) (bastion, CI)
# - tcp 22 from sg-07bd89a23f5e834ce (tools-ci) (bastion, CI)
# - tcp 22 from 203.0.113.0/24 (VPN)
# + tcp 22 from migrate-recovery-vpc-0d74c436bea4e266d stays
# touches: security group on 1 host
# To be deleted where sg-0eb0ee91c7b662eb5 (tools-web) is defined: the rules with - above.
# (migrate export terraform --rule-ids writes them with import blocks.)

# Close port 22 in sg-0fcdbd1342cb738ac (front-web)
# - tcp 22 from sg-09c07d4a46f0ef9b8 (front-bastion) (bastion, CI)
# - tcp 22 from sg-0c2cba3f2c7ce2c5b (front-ci) (bastion, CI)
# + tcp 22 from migrate-recovery-vpc-091e9123b8cbe868c stays
# touches: security group on 1 host
# To be deleted where sg-0fcdbd1342cb738ac (front-web) is defined: the rules with - above.
# (migrate export terraform --rule-ids writes them with import blocks.)
