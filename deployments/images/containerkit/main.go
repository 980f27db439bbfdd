// Containerkit does in an image what a shell would: the images have none.
//
//	containerkit probe URL             exit 0 if URL answers 200
//	containerkit private FROM TO       copy the files in FROM to TO, with mode 0600
//	containerkit sql DATABASE FILE     run the SQL in FILE, once
//	containerkit env NAME=FILE... -- PROGRAM [ARG...]
//
// Probe is for health checks. Private is for secrets that are mounted with modes
// that a group may read: Cairn's programs refuse such keys. Sql loads a schema
// into a database that does not have it, whoever else does so at the same time. Env becomes PROGRAM, with the contents of files in its
// environment, for programs that take secrets from nowhere else.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "containerkit: error: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	command := ""
	if len(args) > 0 {
		command, args = args[0], args[1:]
	}
	switch {
	case command == "probe" && len(args) == 1:
		return probe(ctx, args[0], 3*time.Second)
	case command == "private" && len(args) == 2:
		return private(args[0], args[1])
	case command == "sql" && len(args) == 2:
		return load(ctx, args[0], args[1])
	case command == "env" && slices.Index(args, "--") >= 0 && len(args) > slices.Index(args, "--")+1:
		n := slices.Index(args, "--")
		env, err := environ(os.Environ(), args[:n])
		if err != nil {
			return err
		}
		return syscall.Exec(args[n+1], args[n+1:], env)
	}
	return errors.New("usage: containerkit probe URL | private FROM TO | sql DATABASE FILE | env NAME=FILE... -- PROGRAM [ARG...]")
}
