package main

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var tofu = flag.String("tofu", "", "run OpenTofu over exports; the folder has tofu and schema/terraform-provider-aws (make hcl)")

// Scripts of testdata/tofu are run as TestScripts runs its own, with tofu on the
// path and a stand-in for the AWS provider that knows its arguments.
func TestTofuTakesTheExport(t *testing.T) {
	if *tofu == "" {
		t.Skip("make hcl runs it")
	}
	list, err := filepath.Abs("../../internal/export/testdata/resources.json")
	if err != nil {
		t.Fatal(err)
	}
	p := scripts("testdata/tofu")
	setup := p.Setup
	p.Setup = func(e *testscript.Env) error {
		config := filepath.Join(e.WorkDir, "tofu.rc")
		e.Setenv("PATH", *tofu+string(os.PathListSeparator)+e.Getenv("PATH"))
		e.Setenv("TF_CLI_CONFIG_FILE", config)
		e.Setenv("RESOURCES", list)
		text := "provider_installation {\n  dev_overrides {\n    \"hashicorp/aws\" = \"" + filepath.Join(*tofu, "schema") + "\"\n  }\n  direct {}\n}\n"
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			return err
		}
		return setup(e)
	}
	testscript.Run(t, p)
}
