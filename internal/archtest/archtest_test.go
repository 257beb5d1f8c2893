package archtest_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/credence-mesh/credence/"

// rule says what packages below In may import of ours: only packages below one of Only (nil: nothing of ours but themselves).
type rule struct {
	in     string
	only   []string
	reason string
}

var rules = []rule{
	{"policy", nil, "the Set is values: everything may depend on it, it depends on nothing"},
	{"policy/condition", nil, "the language of conditions knows what an evaluation sees and nothing else"},
	{"policy/decide", []string{"policy", "policy/condition"}, "a decision is pure: replay and tests run it without servers"},
	{"policy/route", []string{"policy"}, "which route a request has is pure: it is compared with Envoy, and never asks one"},
	{"policy/compile", []string{"policy", "policy/condition", "manifests"}, "compile turns objects into the Set and knows neither Envoy nor the network"},
	{"manifests", []string{"manifests"}, "an object is what the operator wrote, whatever is made of it"},
	{"controlplane", []string{"policy", "controlplane"}, "what Envoy is told must not depend on how requests are judged"},
	{"controlplane/ads", []string{"policy", "controlplane/ads"}, "the protocol server carries resources and does not know what they say"},
	{"extauthz", []string{"policy", "policy/route", "extauthz"}, "a Check depends on the Set alone, so it stands beside other control planes too"},
	{"extauthz/credential", nil, "what all kinds of credentials have in common knows none of them"},
	{"extauthz/token", []string{"policy", "extauthz/token", "extauthz/jwks", "extauthz/credential"}, "token verification knows nothing of Envoy"},
	{"extauthz/basic", []string{"policy", "extauthz/basic", "extauthz/credential"}, "one kind of credential: it knows nothing of Envoy and of the other kinds"},
	{"extauthz/apikey", []string{"policy", "extauthz/apikey", "extauthz/credential"}, "one kind of credential: it knows nothing of Envoy and of the other kinds"},
	{"extauthz/clientcert", []string{"policy", "extauthz/clientcert", "extauthz/credential"}, "one kind of credential: it knows nothing of Envoy and of the other kinds"},
	{"extauthz/introspect", []string{"policy", "extauthz/introspect", "extauthz/credential", "extauthz/jwks", "extauthz/token"}, "one kind of credential: it knows nothing of Envoy"},
	{"extauthz/txntoken", []string{"policy", "extauthz/txntoken", "extauthz/credential", "extauthz/jwks", "extauthz/token", "internal/durable"}, "internal tokens know nothing of Envoy; their keys are saved whole or not at all"},
	{"extauthz/dpop", []string{"extauthz/dpop", "extauthz/credential", "extauthz/token"}, "a proof is judged by itself, and its signature by what judges those of tokens"},
	{"extauthz/revocation", []string{"policy", "extauthz/revocation", "store"}, "what is revoked is judged by facts alone"},
	{"store", []string{"store", "internal/durable"}, "a store keeps bytes, whatever they are"},
	{"extauthz/jwks", []string{"policy", "extauthz/jwks", "internal/durable"}, "key sets know nothing of Envoy; the last good ones are saved whole or not at all"},
	{"identity", []string{"identity"}, "services import it: it must not bring the product along"},
	{"internal/golden", nil, "a test tool depends on nothing it tests"},
	{"internal/devissuer", []string{"internal/devissuer"}, "a stand-in for foreign issuers shares no code with what verifies it"},
	{"internal/envoy", []string{"policy", "controlplane/xds", "internal/envoy", "internal/durable"}, "processes are run whatever they serve"},
	{"examples", []string{"identity", "examples"}, "an example is what a stranger could write: it sees public packages only"},
}

// foreign packages that only some of ours may import.
var foreign = []struct {
	prefix string
	only   []string
	reason string
}{
	{"sigs.k8s.io/controller-runtime", []string{"manifests/kube"}, "Kubernetes' client is large and only one source needs it"},
	{"sigs.k8s.io/gateway-api", []string{"manifests", "policy/compile"}, "the Gateway API's types end where the Set begins"},
	{"github.com/envoyproxy/go-control-plane", []string{"controlplane", "extauthz", "identity/sds", "internal/envoy", "test"}, "Envoy's protos stay at the edges"},
	{"github.com/golang-jwt/jwt", []string{"extauthz/token", "extauthz/txntoken", "extauthz/introspect", "extauthz/dpop", "identity/txn", "internal/devissuer", "internal/cli", "examples", "test"}, "few places know signatures, each one kind of token"},
	{"go.etcd.io/bbolt", []string{"store/bolt"}, "one engine of the store knows its database"},
	{"golang.org/x/crypto", []string{"extauthz/basic", "store", "internal/cli"}, "few places hash passwords and seal values"},
	{"cel.dev/cel-go", []string{"policy/condition"}, "one place knows the language of conditions"},
	{"github.com/spf13/cobra", []string{"internal/cli", "cmd"}, "the command line is one layer"},
}

type pkg struct {
	ImportPath string
	Imports    []string
}

func TestImports(t *testing.T) {
	for _, p := range list(t) {
		path := strings.TrimPrefix(p.ImportPath, module)
		r, ok := ruleFor(path)
		for _, imp := range p.Imports {
			if of, ours := strings.CutPrefix(imp, module); ours {
				if ok && of != path && !below(of, append([]string{r.in}, r.only...)) {
					t.Errorf("%s imports %s: %s", path, of, r.reason)
				}
				continue
			}
			for _, f := range foreign {
				if within(imp, f.prefix) && !below(path, f.only) {
					t.Errorf("%s imports %s: %s", path, imp, f.reason)
				}
			}
		}
	}
}

// ruleFor is the most specific rule for path.
func ruleFor(path string) (rule, bool) {
	var best rule
	for _, r := range rules {
		if within(path, r.in) && len(r.in) > len(best.in) {
			best = r
		}
	}
	// A rule on a parent whose Only is nil speaks of that package alone: policy, not policy/compile.
	return best, best.in != "" && (best.only != nil || best.in == path)
}

func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

func below(path string, dirs []string) bool {
	for _, d := range dirs {
		if d == "policy" && path != "policy" && !strings.HasPrefix(path, "policy/decide") {
			continue // "policy" is the Set and decide; compile is never meant
		}
		if within(path, d) {
			return true
		}
	}
	return false
}

func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 10 {
		t.Fatalf("go list found %d packages only: the test reads the wrong tree", len(all))
	}
	return all
}
