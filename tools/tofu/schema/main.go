// Command schema stands for the AWS provider where tofu validate looks on: it
// serves the schema of the list of arguments that $RESOURCES names
// (internal/export/testdata/resources.json), and can do nothing else. tofu asks no more of a provider
// when it validates.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/hashicorp/terraform-plugin-go/tfprotov5"
	"github.com/hashicorp/terraform-plugin-go/tfprotov5/tf5server"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// shape is a resource, a data source or a block of the list.
type shape struct {
	Attributes map[string]string `json:"attributes"` // name → type, with "*" where required, " computed" where read only
	Blocks     map[string]shape  `json:"blocks"`
}

type list struct {
	Resources map[string]shape `json:"resources"`
	Data      map[string]shape `json:"data"`
	Provider  shape            `json:"provider"`
}

var types = map[string]tftypes.Type{
	"string": tftypes.String, "number": tftypes.Number, "bool": tftypes.Bool,
	"set of string": tftypes.Set{ElementType: tftypes.String}, "map of string": tftypes.Map{ElementType: tftypes.String},
}

func (s shape) block() (*tfprotov5.SchemaBlock, error) {
	b := &tfprotov5.SchemaBlock{}
	for name, kind := range s.Attributes {
		kind, computed := strings.CutSuffix(kind, " computed")
		kind, required := strings.CutSuffix(kind, "*")
		t, ok := types[kind]
		if !ok {
			return nil, fmt.Errorf("argument %s: unknown type %q", name, kind)
		}
		b.Attributes = append(b.Attributes, &tfprotov5.SchemaAttribute{Name: name, Type: t, Required: required, Optional: !required && !computed, Computed: computed})
	}
	for name, inner := range s.Blocks {
		block, err := inner.block()
		if err != nil {
			return nil, fmt.Errorf("block %s: %w", name, err)
		}
		b.BlockTypes = append(b.BlockTypes, &tfprotov5.SchemaNestedBlock{TypeName: name, Block: block, Nesting: tfprotov5.SchemaNestedBlockNestingModeList})
	}
	return b, nil
}

func schemas(shapes map[string]shape) (map[string]*tfprotov5.Schema, error) {
	out := map[string]*tfprotov5.Schema{}
	for name, s := range shapes {
		b, err := s.block()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out[name] = &tfprotov5.Schema{Block: b}
	}
	return out, nil
}

// server leaves out, in the interface that it has, what tofu validate never calls.
type server struct {
	tfprotov5.ProviderServer

	schema *tfprotov5.GetProviderSchemaResponse
}

func (s server) GetProviderSchema(context.Context, *tfprotov5.GetProviderSchemaRequest) (*tfprotov5.GetProviderSchemaResponse, error) {
	return s.schema, nil
}

func (server) PrepareProviderConfig(_ context.Context, r *tfprotov5.PrepareProviderConfigRequest) (*tfprotov5.PrepareProviderConfigResponse, error) {
	return &tfprotov5.PrepareProviderConfigResponse{PreparedConfig: r.Config}, nil
}

func (server) ValidateResourceTypeConfig(context.Context, *tfprotov5.ValidateResourceTypeConfigRequest) (*tfprotov5.ValidateResourceTypeConfigResponse, error) {
	return &tfprotov5.ValidateResourceTypeConfigResponse{}, nil
}

func (server) ValidateDataSourceConfig(context.Context, *tfprotov5.ValidateDataSourceConfigRequest) (*tfprotov5.ValidateDataSourceConfigResponse, error) {
	return &tfprotov5.ValidateDataSourceConfigResponse{}, nil
}

func (server) StopProvider(context.Context, *tfprotov5.StopProviderRequest) (*tfprotov5.StopProviderResponse, error) {
	return &tfprotov5.StopProviderResponse{}, nil
}

func load(file string) (*tfprotov5.GetProviderSchemaResponse, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the list of arguments: %w", err)
	}
	var l list
	if err := json.Unmarshal(text, &l); err != nil {
		return nil, fmt.Errorf("read the list of arguments %s: %w", file, err)
	}
	out := &tfprotov5.GetProviderSchemaResponse{}
	if out.ResourceSchemas, err = schemas(l.Resources); err != nil {
		return nil, err
	}
	if out.DataSourceSchemas, err = schemas(l.Data); err != nil {
		return nil, err
	}
	provider, err := l.Provider.block()
	if err != nil {
		return nil, fmt.Errorf("provider: %w", err)
	}
	out.Provider = &tfprotov5.Schema{Block: provider}
	return out, nil
}

func main() {
	schema, err := load(os.Getenv("RESOURCES"))
	if err == nil {
		err = tf5server.Serve("registry.opentofu.org/hashicorp/aws", func() tfprotov5.ProviderServer { return server{schema: schema} })
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
