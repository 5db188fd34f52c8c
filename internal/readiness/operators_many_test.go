package readiness_test

import (
	"fmt"
	"testing"
)

// What an operator may do on a host does not depend on how many others there
// are, though large fleets are judged in other classes than small ones.
func TestManyTagValuesChangeNoAnswer(t *testing.T) {
	const few, many = 90, 600
	tags := make([]map[string]string, many)
	for i := range tags {
		tags[i] = map[string]string{"Name": fmt.Sprintf("%s-%d", []string{"web", "db", "Web"}[i%3], i), "dept": []string{"web", "data"}[i%2]}
		if i%7 == 0 {
			delete(tags[i], "Name")
		}
	}
	for name, statements := range map[string][]string{
		"like":             {statementOf("Allow", `"ssm:StartSession"`, instances, `{"StringLike":{"ssm:resourceTag/Name":"web-*"}}`)},
		"other spelling":   {statementOf("Allow", `"ssm:StartSession"`, instances, `{"StringEqualsIgnoreCase":{"aws:ResourceTag/NAME":["web-3","web-8"]}}`)},
		"a deny":           {statementOf("Allow", `"ssm:*"`, instances, ""), statementOf("Deny", `"ssm:StartSession"`, instances, `{"StringNotLike":{"ssm:resourceTag/Name":["web-*","db-1*"]}}`)},
		"if exists":        {statementOf("Allow", `"ssm:StartSession"`, instances, `{"StringLikeIfExists":{"ssm:resourceTag/Name":"db-*"}}`)},
		"absent":           {statementOf("Allow", `"ssm:StartSession"`, instances, `{"Null":{"ssm:resourceTag/Name":"true"}}`)},
		"two tags":         {statementOf("Allow", `"ssm:StartSession"`, instances, `{"StringLike":{"ssm:resourceTag/Name":"*-1*","ssm:resourceTag/dept":"data"}}`)},
		"a variable":       {statementOf("Allow", `"ssm:StartSession"`, instances, `{"StringEquals":{"ssm:resourceTag/dept":"${aws:PrincipalTag/dept}"},"StringLike":{"ssm:resourceTag/Name":"*-2*"}}`)},
		"a name and a tag": {statementOf("Allow", `"ssm:StartSession"`, `"arn:aws:ec2:*:*:instance/i-1*"`, `{"StringLike":{"ssm:resourceTag/Name":"web*"}}`)},
		"an unknown test":  {statementOf("Allow", `"ssm:StartSession"`, instances, `{"Glance":{"ssm:resourceTag/Name":"web"}}`)},
	} {
		cells := func(n int) string {
			s := withTags(tags[:n]...)
			addUser(s, policyOf(append(statements, documents, channel)...))
			return personRow(judgeWith(s, ownedBy(alice)), "Alice").Cells[:few]
		}
		small, large := cells(few), cells(many)
		if small != large {
			t.Errorf("%s: among few hosts\n%s, among many\n%s", name, small, large)
		}
		kinds := map[rune]bool{}
		for _, c := range small {
			kinds[c] = true
		}
		if len(kinds) < 2 && name != "an unknown test" {
			t.Errorf("%s: every host has the same answer %q", name, small[:1])
		}
	}
}
