// Composecheck loads a Compose file as docker compose does, profiles included, and
// writes what it means as JSON. All variables come from an environment file; one that
// it lacks is an error.
//
//	composecheck ENVFILE COMPOSEFILE
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/interpolation"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/template"
	"github.com/compose-spec/compose-go/v2/types"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: composecheck ENVFILE COMPOSEFILE")
		os.Exit(2)
	}
	if err := check(context.Background(), os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintf(os.Stderr, "composecheck: error: %v\n", err)
		os.Exit(1)
	}
}

func check(ctx context.Context, envFile, composeFile string) error {
	env, err := dotenv.Read(envFile)
	if err != nil {
		return err
	}
	path, err := filepath.Abs(composeFile)
	if err != nil {
		return err
	}
	var missing []error
	lookup := func(name string) (string, bool) {
		value, ok := env[name]
		if !ok {
			missing = append(missing, fmt.Errorf("%s has no variable %s", envFile, name))
		}
		return value, ok
	}
	project, err := loader.LoadWithContext(ctx, types.ConfigDetails{
		WorkingDir: filepath.Dir(path), ConfigFiles: []types.ConfigFile{{Filename: path}}, Environment: env,
	}, func(o *loader.Options) {
		o.Profiles = []string{"*"}
		o.ResolvePaths = true
		o.Interpolate = &interpolation.Options{
			LookupValue: lookup, TypeCastMapping: o.Interpolate.TypeCastMapping, Substitute: template.Substitute,
		}
	})
	if err := errors.Join(append(missing, err)...); err != nil {
		return err
	}
	out, err := json.MarshalIndent(project, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Printf("%s\n", out)
	return err
}
