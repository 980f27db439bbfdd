package main

import (
	"fmt"
	"os"
	"strings"
)

// environ adds to an environment variables whose values are in files: each of
// pairs is NAME=FILE. A line end at the end of a file is no part of the value.
func environ(env, pairs []string) ([]string, error) {
	for _, p := range pairs {
		name, path, ok := strings.Cut(p, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("%s is not NAME=FILE", p)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		env = append(env, name+"="+strings.TrimRight(string(text), "\r\n"))
	}
	return env, nil
}
