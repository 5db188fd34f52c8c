package plan

import (
	"encoding/json"
	"errors"
	"strings"
)

// What steps make besides what they carry themselves. Who brings a step's
// condition about by other means makes the same.
const (
	// ProfilePolicy is the name of the inline policy of a role that comes with an
	// instance profile (ProfileChange.Create).
	ProfilePolicy = "ssm-migrate"
	// TrustEC2 lets EC2 instances assume a role.
	TrustEC2 = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	// TrustSSM and DefaultHostPolicy are what AWS's setup page gives the role of
	// Default Host Management Configuration. Source: Systems Manager User Guide,
	// "Default Host Management Configuration".
	TrustSSM          = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ssm.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	DefaultHostPolicy = "AmazonSSMManagedEC2InstanceDefaultPolicy"
	// Descriptions of the security groups.
	EndpointGroupText = "HTTPS to the endpoints of Systems Manager"
	RecoveryGroupText = "SSH to the recovery bastion"
)

// BastionData is the user data of a recovery bastion with this line of
// authorized_keys. cloud-init adds the key to the image's own login user; nothing in it needs
// Systems Manager.
func BastionData(line string) (string, error) {
	line = strings.TrimSpace(line)
	if line == "" || strings.ContainsAny(line, "\r\n") {
		return "", errors.New("the recovery key is not one line of authorized_keys")
	}
	quoted, err := json.Marshal(line) // a YAML string, too
	if err != nil {
		return "", err
	}
	return "#cloud-config\nssh_pwauth: false\nssh_authorized_keys:\n  - " + string(quoted) + "\n", nil
}
