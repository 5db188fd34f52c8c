package simfleet

import (
	"context"
	"fmt"
	"slices"

	"ssm-migrate/internal/fleet"
)

// runDf is df -P with -k or -i, for all file systems or those that hold the operands.
func runDf(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "")
	all := p.m.filesystems()
	shown := all
	status := 0
	if len(o.operands) > 0 {
		shown = nil
		for _, name := range o.operands {
			at, n, err := p.m.fs.resolve(p.cred, p.abs(name), true)
			switch {
			case err != nil:
				status = p.fail(1, "%s: %s", name, errorText(err))
			case n == nil:
				status = p.fail(1, "%s: No such file or directory", name)
			default:
				shown = append(shown, p.m.filesystem(at))
			}
		}
		if len(shown) == 0 {
			return status
		}
	}
	if o.has("i") {
		p.printf("Filesystem        Inodes   IUsed   IFree IUse%% Mounted on\n")
	} else {
		p.printf("Filesystem     1024-blocks      Used Available Capacity Mounted on\n")
	}
	for _, fs := range shown {
		name := device(slices.IndexFunc(all, func(f fleet.Filesystem) bool { return f.Mount == fs.Mount }), fs.Type)
		size, free, width := fs.Size/1024, fs.Free/1024, 11
		if o.has("i") {
			size, free, width = fs.Inodes, fs.FreeInodes, 8
		}
		p.printf("%-14s %*d %*d %*d %6s %s\n", name, width, size, width-1, size-free, width-1, free, percent(size-free, size), fs.Mount)
	}
	return status
}

// percent rounds up as df does; "-" of nothing.
func percent(part, whole int64) string {
	if whole == 0 {
		return "-"
	}
	return fmt.Sprintf("%d%%", (part*100+whole-1)/whole)
}
