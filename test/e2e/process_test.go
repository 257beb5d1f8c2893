//go:build e2e

package e2e_test

import (
	"fmt"
	"os"
	"strings"

	"github.com/credence-mesh/credence/internal/admin"
)

// pids of the proxies by their ids.
func pids(s admin.Status) map[string]int {
	out := map[string]int{}
	for _, p := range s.Proxies {
		out[p.ID] = p.PID
	}
	return out
}

// lives tells whether the process runs; one that has ended and was not waited for does not.
func lives(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z")
}
