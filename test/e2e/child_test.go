//go:build e2e

package e2e_test

import "fmt"

func child(mode string) error { return fmt.Errorf("no child mode %q", mode) }
