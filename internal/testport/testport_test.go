package testport_test

import (
	"fmt"
	"net"
	"slices"
	"testing"

	"github.com/credence-mesh/credence/internal/testport"
)

func TestFree(t *testing.T) {
	ports := testport.Free(t, 200)
	ports = append(ports, testport.Free(t, 200)...)
	slices.Sort(ports)
	if got := len(slices.Compact(slices.Clone(ports))); got != 400 {
		t.Errorf("%d different ports of 400", got)
	}
	if ports[len(ports)-1] >= 32768 {
		t.Errorf("%d is in the range of outgoing connections", ports[len(ports)-1])
	}
	for _, p := range ports {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
	}
}
