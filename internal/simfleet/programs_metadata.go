package simfleet

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// metadata answers as the instance metadata service does to programs on the
// machine itself. Source: EC2 User Guide, instancedata-data-retrieval and
// configuring-instance-metadata-service.
func (r *transfer) metadata() response {
	m := r.p.m
	plain := func(code int, body string) response {
		return response{code: code, header: map[string]string{"Server": "EC2ws", "Content-Type": "text/plain"}, body: body}
	}
	if m.Host.Metadata.Endpoint == "disabled" {
		return plain(http.StatusForbidden, "")
	}
	token := base64.StdEncoding.EncodeToString([]byte("AQAEA token of " + m.Host.ID))
	if r.path == "/latest/api/token" {
		text, _ := r.requestHeader("X-aws-ec2-metadata-token-ttl-seconds")
		ttl, err := strconv.Atoi(text)
		switch {
		case r.method() != http.MethodPut:
			return plain(http.StatusMethodNotAllowed, "")
		case err != nil || ttl < 1 || ttl > 21600:
			return plain(http.StatusBadRequest, "")
		}
		a := plain(http.StatusOK, token)
		a.header["X-Aws-Ec2-Metadata-Token-Ttl-Seconds"] = text
		return a
	}
	given, has := r.requestHeader("X-aws-ec2-metadata-token")
	if has && given != token || !has && m.Host.Metadata.Tokens == "required" {
		return plain(http.StatusUnauthorized, "")
	}
	body, ok := m.metadataValue(strings.TrimSuffix(strings.TrimPrefix(r.path, "/latest/"), "/"))
	if !ok {
		return plain(http.StatusNotFound, "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>\n<html><head><title>404 - Not Found</title></head></html>\n")
	}
	return plain(http.StatusOK, body)
}

// metadataValue gives one category by its path below /latest/.
func (m *machine) metadataValue(name string) (string, bool) {
	role := ""
	m.hosts.w.Mu.RLock()
	if r := m.Region.Account.profileRole(m.Host.ProfileARN); r != nil {
		role = r.Name
	}
	m.hosts.w.Mu.RUnlock()
	switch name {
	case "meta-data/instance-id":
		return m.Host.ID, true
	case "meta-data/placement/region":
		return m.Region.Name, true
	case "meta-data/placement/availability-zone":
		return m.Host.AZ, true
	case "meta-data/iam/security-credentials":
		return role, role != ""
	case "meta-data/iam/info":
		text, err := json.Marshal(map[string]string{"Code": "Success", "InstanceProfileArn": m.Host.ProfileARN})
		return string(text), err == nil && m.Host.ProfileARN != ""
	case "dynamic/instance-identity/document":
		text, err := json.Marshal(map[string]string{"instanceId": m.Host.ID, "region": m.Region.Name, "accountId": m.Region.Account.ID, "imageId": m.Host.ImageID})
		return string(text), err == nil
	}
	if dir, last := path.Split(name); dir == "meta-data/iam/security-credentials/" && role != "" && last == role {
		// The keys are those of AWS's documentation.
		return `{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":"ASIAIOSFODNN7EXAMPLE","SecretAccessKey":"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY","Token":"token"}`, true
	}
	return "", false
}
