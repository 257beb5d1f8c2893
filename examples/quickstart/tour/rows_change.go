package tour

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func changeRows() []Row {
	return []Row{
		{"a policy is edited: another scope is needed", "403 insufficient_scope orders:admin", "an edit is enforced without a restart", policyEdit},
		{"one object broken, another edited, in one save", "200, then 403", "the last good version stays, the other edit takes effect", brokenManifest},
		{"the policy names an issuer that does not exist", "503, other route 200", "exactly its routes are denied", missingIssuer},
		{"a tenth of a route's weight leads nowhere", "9 of 10 parts 200, the rest 500", "a missing backend costs its own share", missingBackend},
		{"the Check server hangs", "503", "who can't be asked has not allowed", slowCheck},
		{"the Check server is killed (kill -9)", "503", "who can't be asked has not allowed", killed},
		{"credence is started again", "200, same CA, no survivor", "state is kept, proxies of the run before have ended", restarted},
	}
}

// policyEdit also says how long the edit took.
func policyEdit(ctx context.Context, m *Mesh) (got string, err error) {
	token, err := m.right(ctx)
	if err != nil {
		return "", err
	}
	undo, err := m.Edit("policies.yaml", func(s string) string { return strings.Replace(s, `"orders:read"`, `"orders:admin"`, 1) })
	if err != nil {
		return "", err
	}
	got, took, err := until(ctx, "403 insufficient_scope orders:admin", func() (string, error) { return answer(m.shop(ctx, "/orders", token)) })
	m.note("enforced after %d ms", took.Milliseconds())
	return got, errors.Join(err, undo(), m.orders200(ctx, token))
}

func (m *Mesh) orders200(ctx context.Context, token string) error {
	if back, _, err := until(ctx, "200", func() (string, error) { return answer(m.shop(ctx, "/orders", token)) }); err != nil || back != "200" {
		return errors.Join(err, fmt.Errorf("after the edit was undone: %s", back))
	}
	return nil
}

// brokenManifest saves one file in which the policy of payments does not decode and the policy of the shop needs another scope.
func brokenManifest(ctx context.Context, m *Mesh) (got string, err error) {
	token, err := m.right(ctx)
	if err != nil {
		return "", err
	}
	both, err := m.Token(ctx, "orders:read orders:admin")
	if err != nil {
		return "", err
	}
	undo, err := m.Edit("policies.yaml", func(s string) string {
		s = strings.Replace(s, `"orders:read"`, `"orders:admin"`, 1)
		return strings.Replace(s, "name: orders-for-a-user", "name: orders-for-a-user\n      requires: nothing", 1)
	})
	if err != nil {
		return "", err
	}
	edited, _, err := until(ctx, "403 insufficient_scope orders:admin", func() (string, error) { return answer(m.shop(ctx, "/orders", token)) })
	if err != nil {
		return "", errors.Join(err, undo())
	}
	pinned, err := m.shop(ctx, "/orders", both)
	if err != nil {
		return "", errors.Join(err, undo())
	}
	// Rules are in force before the proxies have heard of anything else, and status tells of what all have.
	told, _, err := until(ctx, "", func() (string, error) {
		status, err := m.Run(ctx, "status")
		if strings.Contains(status, "policies.yaml:") && strings.Contains(status, "requires") && strings.Contains(status, "last good") {
			status = ""
		}
		return status, err
	})
	if err == nil && told != "" {
		err = fmt.Errorf("status does not tell of the fault: %s", told)
	}
	got = pinned.String() + ", then " + strings.TrimSuffix(edited, " insufficient_scope orders:admin")
	return got, errors.Join(err, undo(), m.orders200(ctx, token))
}

func missingIssuer(ctx context.Context, m *Mesh) (got string, err error) {
	token, err := m.right(ctx)
	if err != nil {
		return "", err
	}
	undo, err := m.Edit("policies.yaml", func(s string) string { return strings.Replace(s, "issuers: [dev]", "issuers: [nobody]", 1) })
	if err != nil {
		return "", err
	}
	denied, _, err := until(ctx, "503 issuer_missing", func() (string, error) { return answer(m.shop(ctx, "/orders", token)) })
	other, err2 := m.send(ctx, request{listener: "plain", host: "any.example", path: "/public/status"})
	got = strings.TrimSuffix(denied, " issuer_missing") + ", other route " + other.String()
	return got, errors.Join(err, err2, undo(), m.orders200(ctx, token))
}

// missingBackend gives a tenth of the weight to a workload that does not exist and counts 500 answers.
func missingBackend(ctx context.Context, m *Mesh) (got string, err error) {
	undo, err := m.Edit("gateway.yaml", func(s string) string {
		at := strings.LastIndex(s, "        - {group: credence.mesh, kind: Workload, name: web, port:")
		line := s[at : at+strings.IndexByte(s[at:], '\n')]
		good := strings.Replace(line, "}", ", weight: 90}", 1)
		gone := strings.Replace(strings.Replace(line, "name: web", "name: nowhere", 1), "}", ", weight: 10}", 1)
		return s[:at] + good + "\n" + gone + s[at+len(line):]
	})
	if err != nil {
		return "", err
	}
	ask := func() (string, error) {
		return answer(m.send(ctx, request{listener: "plain", host: "any.example", path: "/public/status"}))
	}
	if first, _, err := until(ctx, "500", ask); err != nil || first != "500" {
		return first, errors.Join(err, undo())
	}
	const requests = 500
	count := map[string]int{}
	for range requests {
		a, err := ask()
		if err != nil {
			return "", errors.Join(err, undo())
		}
		count[a]++
	}
	m.note("%d of %d answered 500", count["500"], requests)
	got = "9 of 10 parts 200, the rest 500"
	// Ten in a hundred, give or take five standard deviations (√(500·0.1·0.9) = 6.7): one run in two million is outside by chance.
	if n := count["500"]; n < 50-34 || n > 50+34 || n+count["200"] != requests {
		got = fmt.Sprint(count)
	}
	err = undo()
	for range 3 {
		if _, _, e := until(ctx, "200", ask); e != nil {
			err = errors.Join(err, e)
		}
	}
	return got, err
}

func slowCheck(ctx context.Context, m *Mesh) (string, error) {
	if err := m.Signal(syscall.SIGSTOP); err != nil {
		return "", err
	}
	got, err := answer(m.shop(ctx, "/", ""))
	return got, errors.Join(err, m.Signal(syscall.SIGCONT))
}

func killed(ctx context.Context, m *Mesh) (string, error) {
	m.before = m.identities()
	if err := m.Kill(); err != nil {
		return "", err
	}
	return answer(m.shop(ctx, "/", ""))
}

// identities are what must be the same after a restart: the CA's file.
func (m *Mesh) identities() string {
	body, err := os.ReadFile(filepath.Join(m.state(), "ca", "authorities.pem"))
	if err != nil {
		return err.Error()
	}
	return string(body)
}

func restarted(ctx context.Context, m *Mesh) (string, error) {
	survivors := m.proxies()
	begun := time.Now()
	if err := m.StartCredence(ctx); err != nil {
		return "", err
	}
	m.note("ready after %d ms", time.Since(begun).Milliseconds())
	token, err := m.right(ctx)
	if err != nil {
		return "", err
	}
	got, err := rightToken(ctx, m)
	if m.identities() == m.before {
		got += ", same CA"
	}
	alive := 0
	for _, pid := range survivors {
		if runs(pid) {
			alive++
		}
	}
	switch {
	case len(survivors) == 0:
		got += ", the killed run had no proxies"
	case alive == 0:
		got += ", no survivor"
	default:
		got += fmt.Sprintf(", %d survivors", alive)
	}
	return got, errors.Join(err, m.orders200(ctx, token))
}

// runs tells whether the process lives; one that has ended and was not waited for (state Z) does not.
func runs(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')'):]), " ")
	return !strings.HasPrefix(after, "Z")
}

// proxies are the processes of the Envoys that credence has recorded.
func (m *Mesh) proxies() []int { return recordedProxies(filepath.Join(m.state(), "proxies.json")) }

func recordedProxies(file string) []int {
	body, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	var f struct {
		Proxies []struct {
			PID int `json:"pid"`
		} `json:"proxies"`
	}
	if json.Unmarshal(body, &f) != nil {
		return nil
	}
	var pids []int
	for _, p := range f.Proxies {
		pids = append(pids, p.PID)
	}
	return pids
}
